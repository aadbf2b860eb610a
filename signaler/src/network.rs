//! The network's state and the rules it changes by, without I/O or clock.
//!
//! Guarantees: nothing is taken that its signature does not cover; one plan is proposed per epoch; an epoch
//! change is frozen once Q members of each committee co-signed, and handed out as it is for ever. Each change
//! returns the rows that make it durable; the caller writes them before anybody learns of it.
//!
//! The phase follows from what exists: no plan, genesis without a started epoch, a successor plan without or
//! with its change. So it is the same after a restart.

use std::collections::BTreeMap;

use shardpay_client::signaler::{Hex, NetworkId, Phase, ProcessFigures, Progress};
use shardpay_client::topology::NodeState;
use shardpay_crypto::{Zip215, chain_id, plan_hash};
use shardpay_types::{ChainId, Codec, Epoch, EpochChange, Plan, PlanApproval, PlanHash, PublicKey};
use thiserror::Error;

use crate::settings::Settings;
use crate::store::{EpochStart, NodeRow, Row, Rows, SettingsRow};

mod epochs;
mod nodes;
mod views;

/// Layout of the rows.
const FORMAT: u32 = 1;

/// Why a store does not fit.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The store is of a network with other settings.
    #[error("the store was made with another {key}: {stored} there, {configured} in the configuration")]
    Foreign {
        /// Which setting.
        key: &'static str,
        /// Its value in the store.
        stored: String,
        /// Its value in the configuration.
        configured: String,
    },
    /// Rows contradict each other.
    #[error("the store contradicts itself: {0}")]
    Inconsistent(&'static str),
}

/// A change of the state: what to write, and whether readers have something new to see.
#[derive(Debug, Default)]
pub(crate) struct Effect {
    /// To be durable before the change is acknowledged or shown.
    pub(crate) rows: Vec<Row>,
    /// Whether the version moved.
    pub(crate) changed: bool,
}

/// A member's position as a sort key: (committee, member).
type Seat = (usize, usize);

#[derive(Debug)]
struct Proposed {
    plan: Plan,
    hash: PlanHash,
    approvals: BTreeMap<Seat, PlanApproval>,
    /// Frozen; always none for genesis.
    change: Option<EpochChange>,
}

/// What heartbeats told; not kept on disk.
#[derive(Debug, Clone, Copy)]
struct Live {
    state: NodeState,
    /// The node's own time in its last heartbeat.
    sent_us: u64,
    arrived_us: u64,
    progress: Progress,
    process: Option<ProcessFigures>,
}

/// The whole state.
pub(crate) struct Network {
    settings: Settings,
    network: NetworkId,
    scheme: Zip215,
    nodes: BTreeMap<PublicKey, NodeRow>,
    plans: BTreeMap<Epoch, Proposed>,
    epochs: BTreeMap<Epoch, EpochStart>,
    live: BTreeMap<PublicKey, Live>,
    version: u64,
}

impl Network {
    /// The state that `rows` hold. `fresh`: the network's name when this is the first start and the settings
    /// have none; `version`: where the version counter starts, different at each start.
    pub(crate) fn restore(
        settings: Settings,
        rows: Rows,
        scheme: Zip215,
        fresh: NetworkId,
        version: u64,
    ) -> Result<(Self, Effect), RestoreError> {
        let network = match &rows.settings {
            Some(stored) => *stored.network,
            None => settings.network.unwrap_or(fresh),
        };
        let row = settings_row(&settings, settings.network.unwrap_or(network));
        let mut effect = Effect::default();
        match &rows.settings {
            Some(stored) => compare(stored, &row)?,
            None => effect.rows.push(Row::Settings(row)),
        }
        let nodes = rows.nodes.into_iter().map(|node| (*node.key, node)).collect();
        let proposed = |plan: Plan| {
            let hash = plan_hash(&plan);
            (plan.epoch, Proposed { plan, hash, approvals: BTreeMap::new(), change: None })
        };
        let mut plans: BTreeMap<Epoch, Proposed> = rows.plans.into_iter().map(proposed).collect();
        for approval in rows.approvals {
            let plan = plans.get_mut(&approval.epoch).filter(|plan| plan.hash == approval.plan);
            let plan = plan.ok_or(RestoreError::Inconsistent("a co-signature without its plan"))?;
            plan.approvals.insert(seat(&approval), approval);
        }
        for change in rows.changes {
            let plan = plans.get_mut(&change.plan.epoch).filter(|plan| plan.plan == change.plan);
            plan.ok_or(RestoreError::Inconsistent("an epoch change without its plan"))?.change = Some(change);
        }
        let epochs: BTreeMap<Epoch, EpochStart> = rows.epochs.into_iter().collect();
        if epochs.keys().any(|epoch| !plans.contains_key(epoch)) {
            return Err(RestoreError::Inconsistent("a started epoch without its plan"));
        }
        let live = BTreeMap::new();
        Ok((Self { settings, network, scheme, nodes, plans, epochs, live, version }, effect))
    }

    /// Where the network stands.
    pub(crate) fn phase(&self) -> Phase {
        if self.plans.is_empty() {
            return Phase::Registering;
        }
        let Some((running, _)) = self.epochs.last_key_value() else { return Phase::Genesis };
        match self.plans.get(&running.next()) {
            None => Phase::Producing,
            Some(next) if next.change.is_none() => Phase::Closing,
            Some(_) => Phase::Handover,
        }
    }

    /// The running epoch; 0 before one runs.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epochs.last_key_value().map_or(Epoch::ZERO, |(epoch, _)| *epoch)
    }

    /// Changes with everything readers wait for.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The network's name.
    pub(crate) fn name(&self) -> NetworkId {
        self.network
    }

    /// The ledger's id, once there is a genesis plan.
    pub(crate) fn chain(&self) -> Option<ChainId> {
        self.plans.get(&Epoch::ZERO).map(|genesis| chain_id(&genesis.plan))
    }

    /// The plan members of the running epoch go by.
    fn current(&self) -> Option<&Proposed> {
        self.plans.get(&self.epoch())
    }

    fn touch(&mut self, effect: &mut Effect) {
        self.version += 1;
        effect.changed = true;
    }
}

fn seat(approval: &PlanApproval) -> Seat {
    (approval.committee.index(), approval.member.index())
}

fn settings_row(settings: &Settings, network: NetworkId) -> SettingsRow {
    SettingsRow {
        format: FORMAT,
        network: Hex(network),
        committees: settings.committees,
        members: settings.members,
        issuer: Hex(settings.issuer),
        constants: hex::encode(settings.constants.to_bytes()),
    }
}

fn compare(stored: &SettingsRow, configured: &SettingsRow) -> Result<(), RestoreError> {
    let pairs = [
        ("format", stored.format.to_string(), configured.format.to_string()),
        ("network.id", stored.network.to_string(), configured.network.to_string()),
        ("network.committees", stored.committees.to_string(), configured.committees.to_string()),
        ("network.members", stored.members.to_string(), configured.members.to_string()),
        ("network.issuer", stored.issuer.to_string(), configured.issuer.to_string()),
        ("constants", stored.constants.clone(), configured.constants.clone()),
    ];
    match pairs.into_iter().find(|(_, stored, configured)| stored != configured) {
        Some((key, stored, configured)) => Err(RestoreError::Foreign { key, stored, configured }),
        None => Ok(()),
    }
}
