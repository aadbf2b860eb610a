//! What comes in: one arm per fact, each handed to the part that it concerns.
//!
//! Everything from peers is bounded here or in the part: requests by a budget per node, sets by their
//! own limits. What is not acted upon is counted by reason.

use std::sync::Arc;

use shardpay_consensus::Input as DagInput;
use shardpay_crypto::{IdentifiedOpaque, IdentifiedTransaction, SealedBlock, Verified, shard_of};
use shardpay_ledger::MadeBlock;
use shardpay_types::{
    AccountState, BlockRequest, Certificate, CommitteeId, Epoch, Heartbeat, Height, Leaders, LedgerResponse, List,
    NodeId, PeerMessage,
};

use crate::api::{Answer, ClientToken, Input, LedgerFact, LedgerOrder, Output, Refusal, Service};
use crate::certificates::serve_certificates;
use crate::counters::Refused;
use crate::flow::facts;
use crate::heartbeat::Heartbeats;
use crate::machine::{Replica, own_figures};
use crate::rejoin::Action;
use crate::verify::CheckedMessage;

impl Replica {
    pub(crate) fn dispatch(&mut self, input: Input) {
        match input {
            Input::Message { from, message } => self.message(from, message),
            Input::PeerConnected(node) => self.connected(node),
            Input::Submitted { client, transaction, sender } => {
                let answer = self.submitted(client, &transaction, sender);
                self.core.out.push(Output::Answer { client, txid: transaction.txid, answer });
            }
            Input::OpaqueSubmitted { client, payloads } => self.opaque_submitted(client, payloads),
            Input::Persisted(id) => {
                self.core.out.persisted(id);
                self.instances.persisted(id);
                self.certificates.release(&mut self.core, &self.members);
            }
            Input::Ledger(fact) => self.ledger(fact),
            Input::PlanProposed(plan) => {
                if !self.mode.halted && !self.mode.stays_out {
                    let unfinished = self.has_unfinished_epoch();
                    self.epochs.plan_proposed(&mut self.core, &self.members, &plan, unfinished);
                }
            }
            Input::EpochChangeProposed(change) => {
                self.epochs.change_proposed(&mut self.core, &self.members, change);
            }
            Input::Tick => {}
        }
    }

    fn submitted(
        &mut self,
        client: ClientToken,
        transaction: &Verified<IdentifiedTransaction>,
        sender: AccountState,
    ) -> Answer {
        let answer = if self.mode.halted || self.mode.stays_out || self.members.own.is_none() {
            Answer::Rejected(Refusal::NotProposing)
        } else if self.is_backlogged(transaction) {
            self.mempool.busy()
        } else {
            self.mempool.submit(client, transaction, sender)
        };
        self.count_answer(&answer);
        answer
    }

    fn opaque_submitted(&mut self, client: ClientToken, payloads: Vec<Verified<IdentifiedOpaque>>) {
        let proposing = !self.mode.halted && !self.mode.stays_out && self.members.own.is_some();
        for payload in payloads {
            let txid = payload.txid;
            let answer =
                if proposing { self.opaque.submit(client, payload) } else { Answer::Rejected(Refusal::NotProposing) };
            self.count_answer(&answer);
            self.core.out.push(Output::Answer { client, txid, answer });
        }
    }

    fn count_answer(&mut self, answer: &Answer) {
        match answer {
            Answer::Rejected(_) => self.core.refused.count(Refused::Submission),
            Answer::Busy { .. } => self.core.refused.count(Refused::Busy),
            Answer::Accepted | Answer::Executed { .. } => {}
        }
    }

    /// Whether the payee's committee is too far behind with what we sent it.
    fn is_backlogged(&self, transaction: &IdentifiedTransaction) -> bool {
        let payee = transaction.transaction.recipient();
        let destination = payee.map(|payee| self.members.plan.owner(shard_of(&payee)));
        destination.is_some_and(|destination| self.source.backlog(destination) > self.core.config.backlog_max)
    }

    fn ledger(&mut self, fact: LedgerFact) {
        match fact {
            LedgerFact::Executed(executed) => self.commit_executed(&executed),
            LedgerFact::Replayed(Ok(executed)) => {
                if let (Some(made), Some(by)) = (executed.blocks.first(), self.rejoin.take_certificate()) {
                    self.block_replayed(made, &by);
                }
                self.rejoin.replayed(&mut self.core, true);
                self.absorb(&executed, &[]);
            }
            LedgerFact::Replayed(Err(_)) => self.rejoin.replayed(&mut self.core, false),
            LedgerFact::Acknowledged { destination, count } => {
                self.source.acknowledged(destination, count);
            }
            LedgerFact::Checkpoint(checkpoint) => {
                if !self.mode.halted && !self.mode.stays_out {
                    self.epochs.checkpoint(&mut self.core, *checkpoint);
                }
            }
            LedgerFact::Served { to, message } => self.core.out.send(to, message),
        }
    }

    fn block_replayed(&mut self, made: &MadeBlock, by: &Certificate) {
        let members = self.members_of(made.block.header.epoch);
        if by.signatures().len() >= members.members().quorum() {
            self.certificates.replayed(&mut self.core, &members, made, by);
        } else {
            let step = self.certificates.attested(&mut self.core, &members, made, by);
            self.follow(step);
        }
    }

    /// A link came up: tell what we have, and ask for the same.
    fn connected(&mut self, node: NodeId) {
        if node.committee != self.members.committee || Some(node.member) == self.members.own {
            return;
        }
        let status = self.consensus_status();
        let own = own_figures(&self.members, &self.instances, &self.certificates, &status);
        Heartbeats::send_to(&mut self.core, &own, node, true);
    }

    fn message(&mut self, from: NodeId, message: CheckedMessage) {
        let known = self.members.plan.committee(from.committee).and_then(|committee| committee.key(from.member));
        if known.is_none() || known == Some(&self.core.signer.public_key()) {
            return self.core.refused.count(Refused::UnknownSender);
        }
        match message {
            CheckedMessage::Blocks { epoch, requested, blocks, rejected } => {
                self.core.refused.add(Refused::BadBlock, rejected.len());
                self.blocks(from, epoch, requested, blocks);
            }
            CheckedMessage::BlockRequest(request) => self.block_request(from, request),
            CheckedMessage::Heartbeat(heartbeat) => self.heartbeat(from, &heartbeat),
            CheckedMessage::HeaderVote(vote) => self.certificates.vote(&mut self.core, from, vote),
            CheckedMessage::CheckpointVote(vote) => {
                self.epochs.vote(&mut self.core, self.members.epoch(), from, vote);
            }
            CheckedMessage::Certificates { headers, rejected } => {
                self.core.refused.add(Refused::BadCertificate, rejected);
                for certified in headers {
                    let step = self.certificates.certificate(&mut self.core, certified);
                    self.follow(step);
                }
            }
            CheckedMessage::LedgerRequest(request) => self.ledger_request(from, request.from),
            CheckedMessage::LedgerResponse(response) => self.ledger_response(from, *response),
            CheckedMessage::LeadersRequest(request) => self.serve(from, Service::Leaders { height: request.height }),
            CheckedMessage::Leaders(leaders) => self.leaders(from, leaders),
            CheckedMessage::RelayNotice(notice) => {
                if self.budgets.take(self.core.now, from) {
                    self.destination.noticed(&mut self.core, &self.members, from, notice.count);
                } else {
                    self.core.refused.count(Refused::OverBudget);
                }
            }
            CheckedMessage::PackRequest(request) => self.serve(from, Service::Pack { first: request.first }),
            CheckedMessage::Pack(pack) => {
                self.destination.pack(&mut self.core, &self.members, from, pack.into_inner());
            }
            CheckedMessage::Cursor(proof) => {
                let count = proof.cursor.count;
                if self.source.would_move(from.committee, count) {
                    self.core.out.push(Output::Ledger(LedgerOrder::Acknowledge(proof.into_inner())));
                }
            }
            CheckedMessage::ClosingsRequest(request) => self.serve(from, Service::Closings { from: request.from }),
            CheckedMessage::Closings(records) => {
                let known = self.known_epoch(from.committee);
                self.destination.closings(&mut self.core, from.committee, known, records.into_inner());
            }
            CheckedMessage::UnknownKeyset { epoch } => {
                let known = self.known_epoch(from.committee);
                self.destination.unknown_keyset(&mut self.core, from, known, epoch);
            }
        }
    }

    /// The epoch of another committee that our ledger has recorded.
    fn known_epoch(&self, committee: CommitteeId) -> Epoch {
        self.verification.keysets.get(&committee).map(|plan| plan.epoch).unwrap_or_default()
    }

    fn serve(&mut self, to: NodeId, what: Service) {
        if !self.budgets.take(self.core.now, to) {
            return self.core.refused.count(Refused::OverBudget);
        }
        self.core.out.push(Output::Ledger(LedgerOrder::Serve { to, what }));
    }

    /// Certified blocks come from the ledger's store; above them there may be attested ones.
    fn ledger_request(&mut self, to: NodeId, from: Height) {
        let blocks = self.certificates.attestations(from);
        if blocks.is_empty() {
            return self.serve(to, Service::Blocks { from });
        }
        if !self.budgets.take(self.core.now, to) {
            return self.core.refused.count(Refused::OverBudget);
        }
        let tip = self.certificates.certified();
        let response = LedgerResponse { from, blocks: List::bounded(blocks), tip };
        self.core.send(to, PeerMessage::LedgerResponse(response));
    }

    fn blocks(&mut self, from: NodeId, epoch: Epoch, requested: bool, blocks: Vec<Verified<Arc<SealedBlock>>>) {
        let now = self.core.now;
        let Some(instance) = self.instances.of(epoch) else {
            // of an epoch that has not started here: they come again by heartbeats
            return self.core.refused.add(Refused::WrongEpoch, blocks.len());
        };
        for block in blocks {
            instance.handle(now, DagInput::BlockReceived { from: from.member, block, requested });
        }
    }

    fn block_request(&mut self, from: NodeId, request: BlockRequest) {
        if !self.budgets.take(self.core.now, from) {
            return self.core.refused.count(Refused::OverBudget);
        }
        let now = self.core.now;
        match self.instances.of(request.epoch) {
            Some(instance) => {
                let input = DagInput::BlocksRequested { from: from.member, refs: request.refs.into_vec() };
                instance.handle(now, input);
            }
            None => self.core.refused.count(Refused::WrongEpoch),
        }
    }

    fn heartbeat(&mut self, from: NodeId, heartbeat: &Heartbeat) {
        let now = self.core.now;
        let reply = self.heartbeats.heard(&self.core, from.member, heartbeat);
        if let Some(instance) = self.instances.of(heartbeat.epoch) {
            let highest = heartbeat.highest.to_vec();
            instance.handle(now, DagInput::PeerStatus { from: from.member, highest });
        }
        // push what it lacks: certificates of blocks it has executed
        let certified = self.certificates.certified();
        let lacks = heartbeat.certified < certified && heartbeat.executed > heartbeat.certified;
        if lacks && self.budgets.take(now, from) {
            serve_certificates(&mut self.core, from, heartbeat.certified.next());
        }
        let status = self.consensus_status();
        if reply {
            let own = own_figures(&self.members, &self.instances, &self.certificates, &status);
            Heartbeats::send_to(&mut self.core, &own, from, false);
        }
        self.consider_catching_up(&status);
        self.retire_last_epoch();
    }

    /// Once the last epoch's headers are certified and every member has come past it, its blocks are not asked
    /// for and not served any more: who falls back behind its end replays ledger blocks.
    fn retire_last_epoch(&mut self) {
        let epoch = self.members.epoch();
        let past = self.heartbeats.claims().filter(|(_, claim)| claim.epoch >= epoch).count();
        if !self.has_unfinished_epoch() && past >= self.members.peers().count() && self.instances.retire_last() {
            self.refresh_verification();
        }
    }

    /// Whether headers of an earlier epoch lack their certificates.
    fn has_unfinished_epoch(&self) -> bool {
        self.certificates.first_uncertified_epoch().is_some_and(|first| first < self.members.epoch())
    }

    fn ledger_response(&mut self, from: NodeId, response: LedgerResponse) {
        let last_output = self.instances.running_ref().map(|instance| instance.last_output());
        let facts = facts(&self.execution, &self.certificates, last_output);
        self.rejoin.blocks(&mut self.core, &self.members, (from, response), &facts);
    }

    fn leaders(&mut self, from: NodeId, leaders: Leaders) {
        let last_output = self.instances.running_ref().map(|instance| instance.last_output());
        let facts = facts(&self.execution, &self.certificates, last_output);
        if let Action::Rejoin { anchor, leaders } = self.rejoin.leaders(&mut self.core, from, leaders, &facts) {
            self.rejoin_dag(anchor, leaders);
        }
    }
}
