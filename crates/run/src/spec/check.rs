//! What a spec must hold beyond its types. Each problem names its key.

use shardpay_types::{COMMITTEES_MAX, MEMBERS_MAX, OPAQUE_BYTES_MAX};

use super::{Cross, Distribution, Fault, FaultAction, Load, Rate, Spec, WarmupRule};

/// What is wrong with the value of a key.
pub(crate) struct Problem {
    /// Dotted, with the index of an entry of a list.
    pub(crate) key: String,
    /// In words.
    pub(crate) why: String,
}

pub(super) fn require(holds: bool, key: impl Into<String>, why: impl Into<String>) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err(Problem { key: key.into(), why: why.into() }) }
}

/// Longest duration in a spec: ten days.
const SECONDS_MAX: f64 = 864_000.0;
/// Shortest opaque payload: its number, which tells it apart.
const PAYLOAD_BYTES_MIN: usize = 8;
/// Highest rate in a spec.
const RATE_MAX: f64 = 10_000_000.0;

pub(super) fn seconds(value: f64, key: impl Into<String>) -> Result<(), Problem> {
    require((0.0..=SECONDS_MAX).contains(&value), key, "must be 0 to 864,000 seconds")
}

fn rate(value: f64, key: &str) -> Result<(), Problem> {
    require(value > 0.0 && value <= RATE_MAX, key, "must be above 0 and at most 10,000,000 per second")
}

impl Spec {
    /// Checks everything a spec must hold.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let named = !self.name.is_empty() && self.name.len() <= 64 && self.name.chars().all(plain);
        require(named, "name", "must be 1 to 64 letters, digits, - or _")?;
        let committees = (1..=COMMITTEES_MAX).contains(&self.committees);
        require(committees, "committees", format!("must be 1 to {COMMITTEES_MAX}"))?;
        let nodes = self.nodes_per_committee;
        let size = nodes == 1 || (4..=MEMBERS_MAX).contains(&nodes);
        require(size, "nodes_per_committee", format!("must be 1 (for development) or 4 to {MEMBERS_MAX}"))?;
        seconds(self.duration_s, "duration_s")?;
        require(self.duration_s >= 1.0, "duration_s", "must be at least 1 second")?;
        seconds(self.warmup_s, "warmup_s")?;
        require(self.warmup_s < self.duration_s, "warmup_s", "must be shorter than `duration_s`")?;
        let enough = self.duration_s - self.warmup_s >= WarmupRule::MSER5_SECONDS_MIN;
        let why = "mser5 needs at least 20 seconds of load beside `warmup_s`";
        require(self.warmup == WarmupRule::Fixed || enough, "warmup", why)?;
        self.check_node()?;
        self.check_network()?;
        self.check_load()?;
        self.check_byzantine()?;
        for (index, fault) in self.faults.iter().enumerate() {
            self.check_fault(fault, &format!("faults.{index}"))?;
        }
        self.check_limits()
    }

    fn check_node(&self) -> Result<(), Problem> {
        let node = &self.node;
        require((1..=64).contains(&node.lanes), "node.lanes", "must be 1 to 64")?;
        require((1..=64).contains(&node.tokio_workers), "node.tokio_workers", "must be 1 to 64")?;
        require((1..=65_536).contains(&node.memtable_mb), "node.memtable_mb", "must be between 1 and 65,536")?;
        require(node.min_round_delay_ms <= 10_000, "node.min_round_delay_ms", "must be at most 10,000")?;
        let level = ["error", "warn", "info", "debug", "trace"].contains(&node.log.as_str());
        require(level, "node.log", "must be error, warn, info, debug or trace")?;
        let share = node.cpu_share == 0.0 || (0.01..=64.0).contains(&node.cpu_share);
        require(share, "node.cpu_share", "must be 0 (no limit) or 0.01 to 64 cores")?;
        let memory = node.memory_mb == 0 || (32..=1 << 20).contains(&node.memory_mb);
        require(memory, "node.memory_mb", "must be 0 (no limit) or 32 to 1,048,576")?;
        let disk = node.disk_mb == 0 || (16..=1 << 20).contains(&node.disk_mb);
        require(disk, "node.disk_mb", "must be 0 (no limit) or 16 to 1,048,576")
    }

    fn check_rate(&self) -> Result<(), Problem> {
        match &self.load.rate {
            Rate::Constant { per_second } | Rate::Poisson { per_second } => rate(*per_second, "load.rate.per_second")?,
            Rate::Ramp { from_per_second, to_per_second } => {
                rate(*from_per_second, "load.rate.from_per_second")?;
                rate(*to_per_second, "load.rate.to_per_second")?;
            }
            Rate::Steps { steps_per_second } => {
                let key = "load.rate.steps_per_second";
                require((1..=1_000).contains(&steps_per_second.len()), key, "must hold 1 to 1,000 rates")?;
                steps_per_second.iter().try_for_each(|step| rate(*step, key))?;
            }
            Rate::Closed { in_flight } => require(*in_flight >= 1, "load.rate.in_flight", "must be at least 1")?,
            Rate::Fraction { of_closed_loop, at_least_per_second, probe_s, probe_in_flight } => {
                let share = *of_closed_loop > 0.0 && *of_closed_loop <= 1.0;
                require(share, "load.rate.of_closed_loop", "must be above 0 and at most 1")?;
                rate(*at_least_per_second, "load.rate.at_least_per_second")?;
                require((1.0..=600.0).contains(probe_s), "load.rate.probe_s", "must be 1 to 600 seconds")?;
                require(*probe_in_flight >= 1, "load.rate.probe_in_flight", "must be at least 1")?;
            }
            Rate::Daily { per_second, swing, days } => {
                rate(*per_second, "load.rate.per_second")?;
                require((0.0..=1.0).contains(swing), "load.rate.swing", "must be 0 to 1")?;
                require((1..=1_000).contains(days), "load.rate.days", "must be 1 to 1,000")?;
            }
            Rate::Trace { file, speed } => {
                require(!file.as_os_str().is_empty(), "load.rate.file", "must name a file")?;
                let fits = *speed > 0.0 && *speed <= 1e9;
                require(fits, "load.rate.speed", "must be above 0 and at most 1,000,000,000")?;
            }
        }
        Ok(())
    }

    fn check_load(&self) -> Result<(), Problem> {
        let load = &self.load;
        self.check_rate()?;
        self.check_payload()?;
        let accounts = load.accounts >= 2 * self.committees && load.accounts <= 100_000_000;
        require(accounts, "load.accounts", "must be at least 2 per committee and at most 100,000,000")?;
        match &load.distribution {
            Distribution::Uniform => {}
            Distribution::Zipf { exponent } => {
                let fits = *exponent > 0.0 && *exponent <= 10.0;
                require(fits, "load.distribution.exponent", "must be above 0 and at most 10")?;
            }
            Distribution::Hot { vendors, share } => {
                let fits = (1..load.accounts).contains(vendors);
                require(fits, "load.distribution.vendors", "must be at least 1 and fewer than `load.accounts`")?;
                require((0.0..=1.0).contains(share), "load.distribution.share", "must be 0 to 1")?;
            }
            Distribution::Retail { vendors, exponent, amount_median, amount_sigma } => {
                let fits = (1..load.accounts).contains(vendors);
                require(fits, "load.distribution.vendors", "must be at least 1 and fewer than `load.accounts`")?;
                let fits = *exponent > 0.0 && *exponent <= 10.0;
                require(fits, "load.distribution.exponent", "must be above 0 and at most 10")?;
                let fits = (0.01..=10_000.0).contains(amount_median);
                require(fits, "load.distribution.amount_median", "must be 0.01 to 10,000 coins")?;
                let fits = (0.0..=3.0).contains(amount_sigma);
                require(fits, "load.distribution.amount_sigma", "must be 0 to 3")?;
            }
        }
        if let Cross::Ratio(ratio) = load.cross {
            require((0.0..=1.0).contains(&ratio), "load.cross", "must be \"natural\" or 0 to 1")?;
            let possible = self.committees > 1 || ratio == 0.0;
            require(possible, "load.cross", "must be 0 with one committee: there is no other to pay to")?;
        }
        require((1..=64).contains(&load.processes), "load.processes", "must be 1 to 64")?;
        require(load.max_in_flight >= load.processes, "load.max_in_flight", "must be at least 1 per process")?;
        let seed = i64::try_from(load.seed).is_ok();
        require(seed, "load.seed", "must be below 2^63, as TOML knows no larger integers")
    }

    /// Opaque payloads: what belongs to payments must be left as it is.
    fn check_payload(&self) -> Result<(), Problem> {
        let Load { payload, rate, accounts, distribution, cross, .. } = &self.load;
        if *payload == 0 {
            return Ok(());
        }
        let fits = (PAYLOAD_BYTES_MIN..=OPAQUE_BYTES_MAX).contains(payload);
        let why = format!("must be 0 (payments) or {PAYLOAD_BYTES_MIN} to {OPAQUE_BYTES_MAX} bytes");
        require(fits, "load.payload", why)?;
        let standard = Load::default();
        let why = "belongs to payments: leave it out beside `load.payload`";
        require(!matches!(rate, Rate::Trace { .. }), "load.rate.kind", "a trace is of payments, not of payloads")?;
        require(*accounts == standard.accounts, "load.accounts", why)?;
        require(*distribution == standard.distribution, "load.distribution", why)?;
        require(matches!(cross, Cross::Natural) || *cross == Cross::Ratio(0.0), "load.cross", why)?;
        let why = "a payload is sent once, so what a fault loses stays lost: no faults beside `load.payload`";
        require(self.faults.is_empty(), "faults", why)
    }

    fn check_fault(&self, fault: &Fault, key: &str) -> Result<(), Problem> {
        seconds(fault.at_s, format!("{key}.at_s"))?;
        require(fault.at_s < self.duration_s, format!("{key}.at_s"), "must lie within `duration_s`")?;
        let found = fault.nodes.nodes(self.committees, self.nodes_per_committee, 0);
        require(found.is_some(), format!("{key}.nodes"), format!("there is no node {}", fault.nodes))?;
        let some = found.is_some_and(|nodes| !nodes.is_empty());
        require(some, format!("{key}.nodes"), "a committee of this size may have no faulty member")?;
        if fault.action == FaultAction::StopCommittee {
            require(fault.nodes.whole_committees(), format!("{key}.nodes"), "must name whole committees, as 1-* does")?;
        }
        self.check_fault_options(fault, key)?;
        if let Some(down_s) = fault.down_s {
            seconds(down_s, format!("{key}.down_s"))?;
            let ends = fault.action.opposite().is_some();
            require(ends, format!("{key}.down_s"), format!("{} has no end", fault.action))?;
        }
        if let Some(repeat) = fault.repeat {
            seconds(repeat.every_s, format!("{key}.repeat.every_s"))?;
            require((1..=10_000).contains(&repeat.times), format!("{key}.repeat.times"), "must be 1 to 10,000")?;
            let last = fault.at_s + repeat.every_s * f64::from(repeat.times - 1);
            require(last < self.duration_s, format!("{key}.repeat"), "the last one must begin within `duration_s`")?;
            let apart = fault.down_s.is_none_or(|down_s| repeat.times == 1 || down_s < repeat.every_s);
            require(apart, format!("{key}.down_s"), "must be shorter than `repeat.every_s`")?;
        }
        Ok(())
    }

    /// Keys that belong to some faults only.
    fn check_fault_options(&self, fault: &Fault, key: &str) -> Result<(), Problem> {
        let action = fault.action;
        let goes_with = |given: bool, name: &str, fits: bool| {
            require(!given || fits, format!("{key}.{name}"), format!("does not belong to {action}"))
        };
        goes_with(fault.to.is_some(), "to", action.is_of_links())?;
        goes_with(fault.both_ways, "both_ways", action.is_of_links())?;
        goes_with(fault.cpu_share.is_some(), "cpu_share", action == FaultAction::Throttle)?;
        goes_with(fault.skew_ms.is_some(), "skew_ms", action == FaultAction::SkewClock)?;
        goes_with(fault.link.is_some(), "link", action == FaultAction::Shape)?;
        if let Some(to) = fault.to {
            let found = to.nodes(self.committees, self.nodes_per_committee, 0).is_some();
            require(found, format!("{key}.to"), format!("there is no node {to}"))?;
        }
        match action {
            FaultAction::Throttle => {
                let fits = fault.cpu_share.is_some_and(|share| (0.01..=64.0).contains(&share));
                require(fits, format!("{key}.cpu_share"), "throttle needs 0.01 to 64 cores")
            }
            FaultAction::SkewClock => {
                let fits = fault.skew_ms.is_some_and(|ms| ms.unsigned_abs() <= 86_400_000);
                require(fits, format!("{key}.skew_ms"), "skew-clock needs at most a day, ahead or behind")
            }
            FaultAction::Shape => {
                let link =
                    fault.link.ok_or(Problem { key: format!("{key}.link"), why: "shape needs it".to_owned() })?;
                link.check(&format!("{key}.link"))
            }
            FaultAction::FillDisk => {
                let why = "fill-disk needs a size: a disk of this machine is not filled";
                require(self.node.disk_mb > 0, "node.disk_mb", why)
            }
            _ => Ok(()),
        }
    }

    fn check_limits(&self) -> Result<(), Problem> {
        let limits = &self.limits;
        seconds(limits.startup_s, "limits.startup_s")?;
        seconds(limits.drain_s, "limits.drain_s")?;
        require((0.0..=1.0).contains(&limits.kept_rate_min), "limits.kept_rate_min", "must be 0 to 1")?;
        let floor = limits.certified_per_second_min;
        require((0.0..=RATE_MAX).contains(&floor), "limits.certified_per_second_min", "must be 0 or a rate")?;
        require(limits.p99_ms_max >= 0.0, "limits.p99_ms_max", "must be 0 or more milliseconds")
    }
}
