//! The run: fund, probe, load, drain, over one set of connections.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use shardpay_client::{OpaqueEvent, SubmitEvent};
use shardpay_crypto::{IdentifiedTransaction, Keypair, opaque_id};
use shardpay_push::PushTargets;
use shardpay_run::{
    AckWriter, LatencyInterval, LatencyWriter, LoadResult, Rate, RunDir, SecondCounts, Spec, new_latencies, write_json,
};
use shardpay_types::{CommitteeId, Opaque};
use tokio::sync::watch;

use crate::cpu::{Cpu, CpuUse};
use crate::held::NoPayment;
use crate::network::{Happening, Network};
use crate::pacer::{Pace, Pacer};
use crate::progress::{Line, Phase, Progress, by_committee};
use crate::random::Chance;
use crate::schedule::Schedule;
use crate::series::Series;
use crate::short::shortfalls;
use crate::source::{Item, Next, Payloads, Source, payments};
use crate::start::StartAt;
use crate::tracker::{Flight, Tracker};
use crate::workload::READY_MIN;

/// Between two looks at the schedule.
const TICK: Duration = Duration::from_millis(2);
/// Most payments signed before a phase; a longer one has them signed as it goes.
const SIGN_AHEAD_MAX: usize = 1 << 20;
/// Rate up to which a closed loop finds its payments signed.
const CLOSED_RATE_GUESS: f64 = 30_000.0;

/// What a run needs.
pub struct Plan {
    /// The experiment.
    pub spec: Spec,
    /// This process and how many there are.
    pub share: (usize, usize),
    /// Where results go.
    pub out: RunDir,
    /// Where signed payments are kept.
    pub cache: Option<PathBuf>,
    /// The issuer; without it accounts must be funded.
    pub issuer: Option<Keypair>,
    /// Who gets the metrics beside `series.lp`.
    pub telemetry_push: PushTargets,
    /// When the load begins; without it as soon as all is prepared.
    pub start_at: Option<StartAt>,
}

/// The state of a run.
pub struct Run {
    plan: Plan,
    network: Network,
    source: Source,
    /// When the payments of a trace are due.
    times: Option<Vec<f64>>,
    tracker: Tracker,
    acks: AckWriter,
    progress: Progress,
    series: Series,
    stop: watch::Receiver<bool>,
    lag: Histogram<u64>,
    result: LoadResult,
    /// By committee.
    batches: Vec<Batch>,
}

/// What is about to be handed to a committee.
#[derive(Debug, Default, Clone)]
struct Batch {
    payments: Vec<IdentifiedTransaction>,
    opaque: Vec<Opaque>,
}

/// What a phase gave.
struct PhaseEnd {
    certified_per_second: f64,
    pacer: Pacer,
}

impl Run {
    /// Prepares everything up to the first payment.
    pub async fn prepare(
        plan: Plan,
        mut network: Network,
        mut progress: Progress,
        stop: watch::Receiver<bool>,
    ) -> Result<Self> {
        let load = &plan.spec.load;
        let (process, processes) = plan.share;
        if plan.start_at.is_some() && matches!(load.rate, Rate::Fraction { .. }) {
            bail!(
                "--start-at: load.rate of kind \"fraction\" probes first, and each process ends that at its own time"
            );
        }
        if load.payload == 0 && load.accounts < 2 * processes {
            bail!("load.accounts = {}: at least 2 per process are needed", load.accounts);
        }
        let genesis = network.client.genesis().clone();
        let chain = *network.client.chain();
        std::fs::create_dir_all(plan.out.loadgen_process(process)).context("--out")?;
        let mut series = Series::create(process, &plan.out.load_series(process), &plan.telemetry_push)?;
        let acks = AckWriter::create(&plan.out.acks(process))?;
        let (source, times) = if load.payload > 0 {
            let ledger = (chain, &genesis.constants, genesis.committees.len());
            (Source::Opaque(Payloads::new(ledger, load.payload, load.seed, plan.share)?), None)
        } else {
            payments(&plan, &mut network, &mut progress, &mut series).await?
        };
        let tracker = Tracker::new(if load.payload > 0 { 0 } else { load.accounts });
        let batches = vec![Batch::default(); genesis.committees.len()];
        let (lag, result) = (new_latencies(), LoadResult::default());
        Ok(Self { plan, network, source, times, tracker, acks, progress, series, stop, lag, result, batches })
    }

    /// Runs all phases and writes the results.
    pub async fn run(mut self) -> Result<LoadResult> {
        let rate = self.resolve_rate().await?;
        let (duration, (process, processes)) = (self.plan.spec.duration(), self.plan.share);
        let chance = Chance::new(self.plan.spec.load.seed, "schedule", process as u64);
        let given = self.times.take().map(|times| Schedule::given(times, duration));
        let schedule = given.or_else(|| Schedule::new(&rate, duration, (process, processes), chance));
        let pace = match (schedule, &rate) {
            (Some(schedule), _) => {
                self.result.asked_per_second = schedule.expected() as f64 / duration.as_secs_f64();
                self.sign(schedule.expected() as usize);
                Pace::Open(schedule)
            }
            (None, Rate::Closed { in_flight }) => {
                self.sign((CLOSED_RATE_GUESS * duration.as_secs_f64() / processes as f64) as usize);
                Pace::Closed((in_flight / processes).max(1))
            }
            (None, _) => bail!("a fraction of a closed loop was not resolved"),
        };
        let begun = self.start().await?;
        let mut latencies = LatencyWriter::create(&self.plan.out.latencies(process), SystemTime::now())?;
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.result.started_us = u64::try_from(started.as_micros()).unwrap_or(u64::MAX);
        let cpu = Cpu::now()?;
        let end = self.phase((Phase::Load, begun), pace, duration, Some(&mut latencies)).await?;
        self.result.seconds = begun.elapsed().as_secs_f64();
        let cpu = Cpu::now()?.since(&cpu);
        self.result.cpu_us = u64::try_from(cpu.own.as_micros()).unwrap_or(u64::MAX);
        self.result.machine_busy = cpu.machine_busy;
        self.drain(begun, Some(&mut latencies)).await?;
        let (series, result) = self.finish(&end.pacer, &cpu)?;
        series.finish().await;
        Ok(result)
    }

    /// The load's beginning, waited for when it is given; what others' payments do meanwhile is taken in, so
    /// that no stream stands still.
    async fn start(&mut self) -> Result<Instant> {
        let Some(start_at) = self.plan.start_at else { return Ok(Instant::now()) };
        let left = start_at.left(SystemTime::now(), "funding and signing took longer; choose a later time")?;
        let begin = Instant::now() + left;
        self.progress.line(&self.empty_line(Phase::Wait));
        self.series.phase(Phase::Wait);
        let mut stop = self.stop.clone();
        loop {
            tokio::select! {
                happening = self.network.next() => self.happened(happening)?,
                () = tokio::time::sleep_until(begin.into()) => return Ok(begin),
                _ = stop.wait_for(|stopped| *stopped) => bail!("stopped before the load began"),
            }
        }
    }

    /// Turns a fraction of the closed-loop rate into a rate, by a probe.
    async fn resolve_rate(&mut self) -> Result<Rate> {
        let rate = self.plan.spec.load.rate.clone();
        let Rate::Fraction { of_closed_loop, at_least_per_second, probe_s, probe_in_flight } = rate else {
            return Ok(rate);
        };
        let processes = self.plan.share.1;
        self.sign((CLOSED_RATE_GUESS * probe_s / processes as f64) as usize);
        let pace = Pace::Closed((probe_in_flight / processes).max(1));
        let now = Instant::now();
        let end = self.phase((Phase::Probe, now), pace, Duration::from_secs_f64(probe_s), None).await?;
        self.drain(Instant::now(), None).await?;
        self.result.probe_per_second = end.certified_per_second;
        let all = end.certified_per_second * processes as f64;
        Ok(Rate::Poisson { per_second: (of_closed_loop * all).max(at_least_per_second) })
    }

    fn sign(&mut self, count: usize) {
        self.progress.line(&self.empty_line(Phase::Sign));
        self.series.phase(Phase::Sign);
        self.series.write();
        // a reserve stays, so that nothing is signed while the phase runs
        let count = (count + READY_MIN).min(SIGN_AHEAD_MAX);
        tokio::task::block_in_place(|| self.source.fill(count));
    }

    async fn phase(
        &mut self,
        (phase, start): (Phase, Instant),
        pace: Pace,
        duration: Duration,
        mut latencies: Option<&mut LatencyWriter>,
    ) -> Result<PhaseEnd> {
        let certified = self.tracker.certified;
        let in_flight_max = (self.plan.spec.load.max_in_flight / self.plan.share.1).max(1);
        let mut pacer = Pacer::new(pace, start, duration, in_flight_max);
        let measured = latencies.is_some();
        let mut second = Second { phase, begun: start, index: 0, certified, skipped: 0 };
        self.series.phase(phase);
        let mut settled = None;
        loop {
            let now = Instant::now();
            if pacer.over(now) || *self.stop.borrow() {
                break;
            }
            // The first fifth of a closed loop fills the pipe: it does not count.
            if settled.is_none() && now.duration_since(start) >= duration / 5 {
                settled = Some((now, self.tracker.certified));
            }
            let before = pacer.counts.offered;
            let due = pacer.due(now, self.tracker.in_flight());
            let mut sent = due.len() as u64;
            if let Err((unsent, why)) = self.send(&due, now, measured) {
                pacer.unsent(unsent, why);
                sent -= unsent;
            }
            self.tracker.second.offered += pacer.counts.offered - before;
            self.series.offered.add(pacer.counts.offered - before);
            self.series.sent.add(sent);
            if second.ended(now) {
                self.tick(&mut second, &pacer, latencies.as_deref_mut())?;
            }
            let wake = tokio::time::Instant::from_std(pacer.wake_at(now, TICK).min(second.end()));
            tokio::select! {
                happening = self.network.next() => self.happened(happening)?,
                () = tokio::time::sleep_until(wake) => {}
            }
            while let Some(happening) = self.network.try_next() {
                self.happened(Some(happening))?;
            }
        }
        let now = Instant::now();
        self.tick(&mut second, &pacer, latencies)?;
        let (since, before) = settled.unwrap_or((start, certified));
        let seconds = now.duration_since(since).as_secs_f64().max(0.001);
        Ok(PhaseEnd { certified_per_second: (self.tracker.certified - before) as f64 / seconds, pacer })
    }

    /// Sends a transaction for each intended time; an error says for how many there was none, and why.
    fn send(&mut self, due: &[Instant], now: Instant, measured: bool) -> Result<(), (u64, NoPayment)> {
        let mut outcome = Ok(());
        for (sent, intended) in due.iter().enumerate() {
            let Next { txid, payer, path, item } = match self.source.next(&self.tracker) {
                Ok(next) => next,
                Err(why) => {
                    outcome = Err(((due.len() - sent) as u64, why));
                    break;
                }
            };
            let mut flight = Flight::new(*intended, payer, path);
            flight.measured = measured;
            self.tracker.sent(txid, flight);
            let lag = u64::try_from(now.saturating_duration_since(*intended).as_micros()).unwrap_or(u64::MAX);
            self.series.send_lag.set(lag);
            if measured {
                self.lag.saturating_record(lag.max(1));
            }
            let batch = &mut self.batches[path.0.index()];
            match item {
                Item::Payment(payment) => batch.payments.push(payment),
                Item::Opaque(payload) => batch.opaque.push(payload.payload),
            }
        }
        self.hand_in();
        outcome
    }

    fn hand_in(&mut self) {
        for (committee, batch) in self.batches.iter_mut().enumerate() {
            let committee = CommitteeId::at(committee);
            if !batch.payments.is_empty()
                && let Err(refused) = self.network.submitter(committee).try_submit(std::mem::take(&mut batch.payments))
            {
                // The submitters have room for all that may be in flight; retries of refused ones can fill it.
                for payment in refused {
                    self.tracker.refused(&payment.txid, "submitter full");
                }
            }
            if !batch.opaque.is_empty()
                && let Err(refused) = self.network.opaque(committee).try_submit(std::mem::take(&mut batch.opaque))
            {
                let chain = *self.network.client.chain();
                for payload in refused {
                    self.tracker.refused(&opaque_id(&chain, &payload), "submitter full");
                }
            }
        }
    }

    fn happened(&mut self, happening: Option<Happening>) -> Result<()> {
        match happening {
            Some(Happening::Block(committee, block, at)) => {
                let seen = self.tracker.block(&block, at);
                self.series.blocks.add(1);
                for ack in &seen.acks {
                    self.acks.write(ack)?;
                }
                if !seen.debited.is_empty() && matches!(self.source, Source::Payments { .. }) {
                    self.network.submitter(committee).settle(seen.debited);
                    self.source.look(&self.tracker);
                }
            }
            Some(Happening::Submissions(events)) => {
                for event in events {
                    match event {
                        SubmitEvent::Refused(txid, reason) => self.tracker.refused(&txid, &reason.to_string()),
                        SubmitEvent::GaveUp(txid) => self.tracker.refused(&txid, "no result in time"),
                        SubmitEvent::Executed(..) => {}
                    }
                }
            }
            Some(Happening::Opaque(events)) => {
                for event in events {
                    match event {
                        OpaqueEvent::Busy(txid) => self.tracker.refused(&txid, "busy"),
                        OpaqueEvent::Refused(txid, reason) => self.tracker.refused(&txid, &reason.to_string()),
                    }
                }
            }
            None => bail!("the runtime is shutting down"),
        }
        Ok(())
    }

    /// Waits for what is in flight.
    async fn drain(&mut self, begun: Instant, mut latencies: Option<&mut LatencyWriter>) -> Result<()> {
        let stopped = *self.stop.borrow();
        let patience = Duration::from_secs_f64(if stopped { 2.0 } else { self.plan.spec.limits.drain_s });
        let start = Instant::now();
        let pacer = Pacer::new(Pace::Closed(0), start, patience, 0);
        let certified = self.tracker.certified;
        let mut second = Second { phase: Phase::Drain, begun, index: begun.elapsed().as_secs(), certified, skipped: 0 };
        self.series.phase(Phase::Drain);
        while self.tracker.in_flight() > 0 && start.elapsed() < patience {
            if second.ended(Instant::now()) {
                self.tick(&mut second, &pacer, latencies.as_deref_mut())?;
            }
            if let Ok(happening) = tokio::time::timeout(Duration::from_millis(100), self.network.next()).await {
                self.happened(happening)?;
            }
        }
        self.tick(&mut second, &pacer, latencies)?;
        Ok(())
    }

    /// Ends a second: its latencies go to the log, its counts to the series, a line to whoever watches.
    fn tick(&mut self, second: &mut Second, pacer: &Pacer, latencies: Option<&mut LatencyWriter>) -> Result<()> {
        let now = Instant::now();
        let interval = self.tracker.latencies.take_interval();
        let total = self.tracker.latencies.take_total();
        for (tag, latencies) in &total {
            let series = self.series.latency(tag.kind);
            latencies
                .iter_recorded()
                .for_each(|value| series.record_many(value.value_iterated_to(), value.count_at_value()));
        }
        if let Some(writer) = latencies {
            let start = second.start();
            let length = now.duration_since(second.begun).saturating_sub(start).max(Duration::from_millis(1));
            for (tag, latencies) in interval {
                writer.write(&LatencyInterval { tag, start, length, latencies })?;
            }
            let index = second.index as usize;
            if self.result.series.len() <= index {
                self.result.series.resize(index + 1, SecondCounts::default());
            }
            let (sum, counts) = (&mut self.result.series[index], std::mem::take(&mut self.tracker.second));
            sum.offered += counts.offered;
            sum.sent += counts.sent;
            sum.certified += counts.certified;
        } else {
            self.tracker.second = SecondCounts::default();
        }
        let (all, committees) = by_committee(&total, self.batches.len());
        let quantile = |q| (!all.is_empty()).then(|| crate::tracker::quantile_ms(&all, q));
        let counts = pacer.counts;
        let skipped = pacer.skipped();
        self.progress.line(&Line {
            phase: second.phase,
            seconds: now.duration_since(second.begun).as_secs_f64(),
            offered: counts.offered,
            sent: counts.offered - skipped,
            certified: self.tracker.certified - second.certified,
            certified_per_second: all.len() as f64,
            skipped,
            in_flight: self.tracker.in_flight(),
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            committees,
        });
        self.series.acknowledged.advance_to(self.tracker.certified);
        self.series.skipped.add(skipped - std::mem::replace(&mut second.skipped, skipped));
        self.series.resent.advance_to(self.network.counts().0);
        self.series.in_flight.set(self.tracker.in_flight() as u64);
        self.series.write();
        second.index = now.duration_since(second.begun).as_secs();
        self.acks.flush()?;
        Ok(())
    }

    fn empty_line(&self, phase: Phase) -> Line {
        let (in_flight, committees) = (self.tracker.in_flight(), Vec::new());
        let (p50_ms, p99_ms, certified_per_second, seconds) = (None, None, 0.0, 0.0);
        Line {
            phase,
            seconds,
            offered: 0,
            sent: 0,
            certified: 0,
            certified_per_second,
            skipped: 0,
            in_flight,
            p50_ms,
            p99_ms,
            committees,
        }
    }

    fn finish(mut self, pacer: &Pacer, cpu: &CpuUse) -> Result<(Series, LoadResult)> {
        let counts = pacer.counts;
        let (resent, answers) = self.network.counts();
        let mut refusals: BTreeMap<String, u64> = std::mem::take(&mut self.tracker.refusals);
        refusals.extend(answers.get_key_value("busy").map(|(name, count)| (name.clone(), *count)));
        self.result.offered = counts.offered;
        self.result.skipped = pacer.skipped();
        self.result.sent = counts.offered - self.result.skipped;
        self.result.resent = resent;
        self.result.refusals = refusals;
        self.result.unresolved = self.tracker.give_up();
        self.result.send_lag_p99_us = if self.lag.is_empty() { 0 } else { self.lag.value_at_quantile(0.99) };
        self.result.shortfalls = shortfalls(&self.result, &counts, cpu, self.plan.spec.load.max_in_flight);
        self.acks.flush()?;
        write_json(&self.plan.out.load_result(self.plan.share.0), &self.result)?;
        self.progress.line(&self.empty_line(Phase::Done));
        self.series.phase(Phase::Done);
        Ok((self.series, self.result))
    }
}

/// Seconds of a phase.
struct Second {
    phase: Phase,
    begun: Instant,
    /// The one that runs.
    index: u64,
    /// Payments certified before the phase.
    certified: u64,
    /// Payments skipped until the last second ended.
    skipped: u64,
}

impl Second {
    fn start(&self) -> Duration {
        Duration::from_secs(self.index)
    }
    fn end(&self) -> Instant {
        self.begun + self.start() + Duration::from_secs(1)
    }
    fn ended(&self, now: Instant) -> bool {
        now >= self.end()
    }
}
