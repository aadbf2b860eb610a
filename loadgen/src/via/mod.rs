//! Load on a payment service (`loadgen run --via URL`): users with keys of their own buy coins by card, sign payments and POST
//! them, and each payment is followed on its stream of events.
//!
//! An open loop as in [`crate::drive`], with the same artefacts. Latency counts from the intended time to the moment at
//! which this process reads the event that says «certified» (across committees: «credited»): what a user waits for,
//! the service's own queues and the way there and back included. A payment takes one connection at a time, kept alive
//! and used again; `load.max_in_flight` bounds them. When all is over, the receipt of every payment is fetched and
//! verified against the genesis plan: those stand in `acks.bin`, so that the audit holds the service to its word too.

mod pay;
mod users;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use shardpay_client::service::ServiceClient;
use shardpay_push::PushTargets;
use shardpay_run::{
    AckWriter, LatencyInterval, LatencyKind, LatencyTag, LatencyWriter, LoadResult, RunDir, SecondCounts, Spec,
    new_latencies, write_json,
};
use shardpay_types::Plan;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::choice::Chooser;
use crate::cpu::{Cpu, CpuUse};
use crate::held::NoPayment;
use crate::latencies::Latencies;
use crate::pacer::{Pace, Pacer};
use crate::progress::{Line, Phase, Progress, by_committee};
use crate::random::Chance;
use crate::schedule::Schedule;
use crate::series::Series;
use crate::short::shortfalls;
use crate::tracker::quantile_ms;
use pay::{Ended, Sent};
use users::Users;

/// Between two looks at the schedule.
const TICK: Duration = Duration::from_millis(2);
/// Payments in flight per user: half of the streams that a service grants a user.
const WINDOW_MAX: u16 = 16;
/// Streams that a service grants one address.
const STREAMS_MAX: usize = 250;
/// Most users: each costs the service a password hash.
const USERS_MAX: usize = 5_000;

/// What a run needs.
pub struct ViaPlan {
    /// The experiment; its rate, accounts, choice, seed and durations count.
    pub spec: Spec,
    /// This process and how many there are.
    pub share: (usize, usize),
    /// Where results go.
    pub out: RunDir,
    /// The service.
    pub url: String,
    /// What receipts are verified against.
    pub genesis: Plan,
    /// Who gets the metrics beside `series.lp`.
    pub telemetry_push: PushTargets,
}

/// The state of a run.
struct Via {
    users: Users,
    chooser: Chooser,
    flights: JoinSet<()>,
    ended: mpsc::UnboundedReceiver<Ended>,
    report: mpsc::UnboundedSender<Ended>,
    windows: Vec<u16>,
    in_flight: usize,
    /// Certified, with the payer who may see the receipt.
    certified: Vec<(usize, String)>,
    latencies: Latencies,
    second: SecondCounts,
    result: LoadResult,
}

/// Payments in flight at this process.
fn in_flight_max(plan: &ViaPlan) -> usize {
    (plan.spec.load.max_in_flight / plan.share.1).clamp(1, STREAMS_MAX)
}

/// Prepares users, drives the load, verifies receipts, writes the results.
pub async fn run(plan: ViaPlan, mut progress: Progress, stop: watch::Receiver<bool>) -> Result<LoadResult> {
    let (spec, (process, processes)) = (&plan.spec, plan.share);
    let load = &spec.load;
    if load.payload > 0 {
        bail!("load.payload: a service takes payments only");
    }
    if !(2 * processes..=USERS_MAX).contains(&load.accounts) {
        bail!("load.accounts = {}: through a service 2 per process to {USERS_MAX} are meant", load.accounts);
    }
    let duration = spec.duration();
    let chance = Chance::new(load.seed, "schedule", process as u64);
    let Some(schedule) = Schedule::new(&load.rate, duration, plan.share, chance) else {
        bail!("load.rate: through a service only open loops are driven: constant, poisson, ramp, steps");
    };
    std::fs::create_dir_all(plan.out.loadgen_process(process)).context("--out")?;
    let mut series = Series::create(process, &plan.out.load_series(process), &plan.telemetry_push)?;
    series.phase(Phase::Fund);
    series.write();
    let users = Users::ready(&ServiceClient::new(&plan.url, None)?, &plan.genesis, load, &mut progress).await?;
    let chance = Chance::new(load.seed, "choice", process as u64);
    let chooser = Chooser::new(users.homes(), &load.distribution, load.cross, plan.share, chance);
    let (report, ended) = mpsc::unbounded_channel();
    let mut via = Via {
        windows: vec![0; users.len()],
        users,
        chooser,
        flights: JoinSet::new(),
        ended,
        report,
        in_flight: 0,
        certified: Vec::new(),
        latencies: Latencies::default(),
        second: SecondCounts::default(),
        result: LoadResult {
            asked_per_second: schedule.expected() as f64 / duration.as_secs_f64(),
            ..LoadResult::default()
        },
    };
    let outcome = via.drive(&plan, schedule, (&mut progress, &mut series), stop).await;
    series.phase(Phase::Done);
    series.finish().await;
    outcome?;
    Ok(via.result)
}

impl Via {
    async fn drive(
        &mut self,
        plan: &ViaPlan,
        schedule: Schedule,
        (progress, series): (&mut Progress, &mut Series),
        stop: watch::Receiver<bool>,
    ) -> Result<()> {
        let (spec, process) = (&plan.spec, plan.share.0);
        let (begun, cpu) = (Instant::now(), Cpu::now()?);
        let mut latencies = LatencyWriter::create(&plan.out.latencies(process), SystemTime::now())?;
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.result.started_us = u64::try_from(started.as_micros()).unwrap_or(u64::MAX);
        let mut pacer = Pacer::new(Pace::Open(schedule), begun, spec.duration(), in_flight_max(plan));
        let mut lag = new_latencies();
        let mut phase = Phase::Load;
        let mut drained_by = None;
        series.phase(phase);
        for second in 0.. {
            let end = begun + Duration::from_secs(second + 1);
            while Instant::now() < end {
                let now = Instant::now();
                if phase == Phase::Load && (pacer.over(now) || *stop.borrow()) {
                    phase = Phase::Drain;
                    series.phase(phase);
                    self.result.seconds = begun.elapsed().as_secs_f64();
                    drained_by = Some(now + Duration::from_secs_f64(spec.limits.drain_s));
                }
                if phase == Phase::Load {
                    let before = pacer.counts.offered;
                    let due = pacer.due(now, self.in_flight);
                    let unsent = self.send(&due, now, &mut lag);
                    pacer.unsent(unsent, NoPayment::PayersFull);
                    let offered = pacer.counts.offered - before;
                    self.second.offered += offered;
                    series.offered.add(offered);
                    series.sent.add(due.len() as u64 - unsent);
                } else if self.in_flight == 0 {
                    break;
                }
                let wake = tokio::time::Instant::from_std(pacer.wake_at(now, TICK).min(end));
                tokio::select! {
                    Some(ended) = self.ended.recv() => self.ended(ended),
                    () = tokio::time::sleep_until(wake) => {}
                }
                while let Ok(ended) = self.ended.try_recv() {
                    self.ended(ended);
                }
            }
            self.tick((begun, second, phase), &pacer, &mut latencies, (&mut *progress, &mut *series))?;
            if drained_by.is_some_and(|late| self.in_flight == 0 || Instant::now() > late) {
                break;
            }
        }
        self.flights.abort_all();
        self.finish(plan, &pacer, (&lag, &Cpu::now()?.since(&cpu))).await
    }

    /// Fetches the proofs and writes what came out.
    async fn finish(&mut self, plan: &ViaPlan, pacer: &Pacer, (lag, cpu): (&Histogram<u64>, &CpuUse)) -> Result<()> {
        let process = plan.share.0;
        let result = &mut self.result;
        result.cpu_us = u64::try_from(cpu.own.as_micros()).unwrap_or(u64::MAX);
        result.machine_busy = cpu.machine_busy;
        result.offered = pacer.counts.offered;
        result.skipped = pacer.skipped();
        result.sent = result.offered - result.skipped;
        result.unresolved = self.in_flight as u64;
        result.send_lag_p99_us = if lag.is_empty() { 0 } else { lag.value_at_quantile(0.99) };
        result.shortfalls = shortfalls(result, &pacer.counts, cpu, in_flight_max(plan));
        let mut acks = AckWriter::create(&plan.out.acks(process))?;
        for ack in pay::proofs(&self.users, &plan.genesis, &self.certified).await? {
            acks.write(&ack)?;
        }
        acks.flush()?;
        Ok(write_json(&plan.out.load_result(process), &self.result)?)
    }

    /// Sends a payment for each intended time whose payer has room; says for how many there was none.
    fn send(&mut self, due: &[Instant], now: Instant, lag: &mut Histogram<u64>) -> u64 {
        let mut unsent = 0;
        for intended in due {
            let (payer, payee) = self.chooser.draw();
            if self.users.is_dead(payer) || self.windows[payer] >= WINDOW_MAX {
                unsent += 1;
                continue;
            }
            let (txid, transaction) = self.users.sign(payer, payee);
            self.windows[payer] += 1;
            self.in_flight += 1;
            self.second.sent += 1;
            let late = now.saturating_duration_since(*intended).as_micros();
            lag.saturating_record(u64::try_from(late).unwrap_or(u64::MAX).max(1));
            let sent = Sent { txid, payer, payee, intended: *intended };
            let (client, report) = (self.users.client(payer), self.report.clone());
            self.flights.spawn(async move {
                // the receiver lives as long as the run
                let _ = report.send(pay::pay(&client, sent, transaction).await);
            });
        }
        unsent
    }

    fn ended(&mut self, ended: Ended) {
        while self.flights.try_join_next().is_some() {}
        let Ended { sent, debited, end } = ended;
        self.windows[sent.payer] -= 1;
        self.in_flight -= 1;
        let (source, destination) = (self.users.home(sent.payer), self.users.home(sent.payee));
        let mut record = |kind, committee, at| {
            self.latencies.record(LatencyTag { kind, committee }, (sent.intended, at), true);
        };
        if let (Some(at), true) = (debited, source != destination) {
            record(LatencyKind::CrossDebit, source, at);
        }
        match end {
            Ok(at) => {
                let crossed = source != destination;
                let kind = if crossed { LatencyKind::CrossCredit } else { LatencyKind::Intra };
                record(kind, destination, at);
                self.second.certified += 1;
                self.certified.push((sent.payer, sent.txid));
            }
            Err(reason) => {
                // its sequence may stay open for ever: what this user signs next would wait for it
                self.users.bury(sent.payer);
                *self.result.refusals.entry(reason).or_default() += 1;
            }
        }
    }

    /// Ends a second: its latencies go to the log, its counts to the series, a line to whoever watches.
    fn tick(
        &mut self,
        (begun, second, phase): (Instant, u64, Phase),
        pacer: &Pacer,
        latencies: &mut LatencyWriter,
        (progress, series): (&mut Progress, &mut Series),
    ) -> Result<()> {
        let start = Duration::from_secs(second);
        let length = begun.elapsed().saturating_sub(start).max(Duration::from_millis(1));
        for (tag, latencies_of) in self.latencies.take_interval() {
            latencies.write(&LatencyInterval { tag, start, length, latencies: latencies_of })?;
        }
        let total = self.latencies.take_total();
        for (tag, recorded) in &total {
            let histogram = series.latency(tag.kind);
            recorded
                .iter_recorded()
                .for_each(|value| histogram.record_many(value.value_iterated_to(), value.count_at_value()));
        }
        self.result.series.push(std::mem::take(&mut self.second));
        let (all, committees) = by_committee(&total, self.users.committees());
        let quantile = |q| (!all.is_empty()).then(|| quantile_ms(&all, q));
        let skipped = pacer.skipped();
        progress.line(&Line {
            phase,
            seconds: begun.elapsed().as_secs_f64(),
            offered: pacer.counts.offered,
            sent: pacer.counts.offered - skipped,
            certified: self.certified.len() as u64,
            certified_per_second: all.len() as f64,
            skipped,
            in_flight: self.in_flight,
            p50_ms: quantile(0.5),
            p99_ms: quantile(0.99),
            committees,
        });
        series.acknowledged.advance_to(self.certified.len() as u64);
        series.skipped.advance_to(skipped);
        series.in_flight.set(self.in_flight as u64);
        series.write();
        Ok(())
    }
}
