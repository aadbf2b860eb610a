//! What stood in the way at the upper end of a bracket: from CPU time by thread, queues and stages of a run that passed and
//! one that failed.
//!
//! The first that holds is named: loadgen itself; all cores of the machine in use; the threads of one name in one server
//! using a whole core; a queue that is many times longer than at the lower end; and else the time that the protocol takes.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use shardpay_run::{Limit, LimitKind, LoadResult, MACHINE_FULL, QueueUse, RunDir, Spec, StageUse, ThreadUse};

use super::series::Series;
use crate::server::Server;
use crate::threads::ThreadTimes;

/// Share of a core from which a server's threads of one name are its limit (there is one thread of most names).
const THREAD_FULL: f64 = 0.9;
/// A queue that grew by this factor, and holds at least so many on average, is named.
const QUEUE_GREW: f64 = 4.0;
const QUEUE_MEAN_MIN: f64 = 8.0;
/// The stages in the order in which a payment passes them.
const STAGES: [&str; 7] = ["received", "verified", "proposed", "committed", "executed", "certified", "notified"];

/// What one run shows.
pub(super) struct Seen {
    machine_busy: f64,
    cores: usize,
    load: LoadResult,
    threads: ThreadTimes,
    series: Series,
}

impl Seen {
    /// Reads a run's measured part, which begins after `cut`.
    pub(super) fn read(dir: &RunDir, spec: &Spec, cut: Duration, cores: usize) -> io::Result<Self> {
        let load = LoadResult::of_run(dir, spec.load.processes).map_err(io::Error::other)?;
        let part = (cut, spec.duration());
        Ok(Self {
            machine_busy: load.machine_busy,
            cores,
            threads: ThreadTimes::read(&dir.threads(), part.0, part.1)?,
            series: Series::read(dir, spec, load.started_us, part)?,
            load,
        })
    }

    /// Cores by program and thread, and the largest share of one server.
    fn cores_by_thread(&self) -> BTreeMap<(&'static str, &str), (f64, f64)> {
        let mut all: BTreeMap<(&'static str, &str), (f64, f64)> = BTreeMap::new();
        if self.threads.seconds <= 0.0 {
            return all;
        }
        for ((server, thread), cpu_us) in &self.threads.cpu_us {
            let cores = *cpu_us as f64 / 1e6 / self.threads.seconds;
            let (sum, largest) = all.entry((server.program(), thread.as_str())).or_default();
            (*sum, *largest) = (*sum + cores, largest.max(cores));
        }
        all
    }

    /// The busiest threads of one name in one server, loadgen left out.
    fn busiest(&self) -> Option<(Server, &str, f64)> {
        let nodes = self.threads.cpu_us.iter().filter(|((server, _), _)| !matches!(server, Server::Loadgen(_)));
        let ((server, thread), cpu_us) = nodes.max_by_key(|(_, cpu_us)| **cpu_us)?;
        (self.threads.seconds > 0.0).then(|| (*server, thread.as_str(), *cpu_us as f64 / 1e6 / self.threads.seconds))
    }
}

/// Names the limit.
pub(super) fn diagnose(lower: &Seen, upper: &Seen) -> Limit {
    let (threads, queues, stages) = (threads(lower, upper), queues(lower, upper), stages(lower, upper));
    let (what, text) = name(upper, &threads, &queues, &stages);
    let (machine_busy_lower, machine_busy_upper) = (lower.machine_busy, upper.machine_busy);
    Limit { what, text, machine_busy_lower, machine_busy_upper, threads, queues, stages }
}

fn name(upper: &Seen, threads: &[ThreadUse], queues: &[QueueUse], stages: &[StageUse]) -> (LimitKind, String) {
    if let Some(shortfall) = upper.load.shortfalls.iter().find(|shortfall| shortfall.is_loadgens()) {
        return (LimitKind::Loadgen, shortfall.to_string());
    }
    let slower = stages.iter().max_by(|a, b| (a.upper_ms - a.lower_ms).total_cmp(&(b.upper_ms - b.lower_ms)));
    let stage = slower.map_or_else(String::new, |stage| {
        format!("; the stage that grew most is `{}`, {:.1} to {:.1} ms", stage.stage, stage.lower_ms, stage.upper_ms)
    });
    if upper.machine_busy >= MACHINE_FULL {
        let of = |thread: &ThreadUse| format!("{} {} {:.2}", thread.program, thread.thread, thread.upper_cores);
        let most: Vec<String> = threads.iter().take(3).map(of).collect();
        let (busy, cores) = (upper.machine_busy * 100.0, upper.cores);
        let text =
            format!("{busy:.0} % of the machine's {cores} cores were in use (most by {}){stage}", most.join(", "));
        return (LimitKind::MachineCpu, text);
    }
    if let Some((server, thread, cores)) = upper.busiest().filter(|(_, _, cores)| *cores >= THREAD_FULL) {
        return (LimitKind::ThreadCpu, format!("`{thread}` of {server} used {cores:.2} cores{stage}"));
    }
    let grew = |queue: &&QueueUse| {
        queue.upper_mean >= QUEUE_MEAN_MIN && queue.upper_mean >= QUEUE_GREW * queue.lower_mean.max(0.5)
    };
    if let Some(queue) = queues.iter().find(grew) {
        let QueueUse { queue, lower_mean, upper_mean, upper_max } = queue;
        let text = format!(
            "`{queue}` held {upper_mean:.0} on average ({lower_mean:.0} before), {upper_max:.0} at most{stage}"
        );
        return (LimitKind::Queue, text);
    }
    let busy = upper.machine_busy * 100.0;
    (LimitKind::Latency, format!("no CPU and no queue was full ({busy:.0} % of the machine in use){stage}"))
}

fn threads(lower: &Seen, upper: &Seen) -> Vec<ThreadUse> {
    let (below, above) = (lower.cores_by_thread(), upper.cores_by_thread());
    let of = |(key, (cores, busiest)): (&(&'static str, &str), &(f64, f64))| ThreadUse {
        program: key.0.to_owned(),
        thread: key.1.to_owned(),
        lower_cores: below.get(key).map_or(0.0, |(cores, _)| *cores),
        upper_cores: *cores,
        busiest: *busiest,
    };
    let mut all: Vec<ThreadUse> = above.iter().map(of).collect();
    all.sort_by(|a, b| b.upper_cores.total_cmp(&a.upper_cores));
    all
}

/// Queues by how much longer they are at the upper end.
fn queues(lower: &Seen, upper: &Seen) -> Vec<QueueUse> {
    let is_queue = |name: &str| name.starts_with("queue_") && name != "queue_peer_bytes" || name == "mempool";
    let of = |(name, gauge): (&String, &super::series::Gauge)| QueueUse {
        queue: name.clone(),
        lower_mean: lower.series.gauges.get(name).map_or(0.0, super::series::Gauge::mean),
        upper_mean: gauge.mean(),
        upper_max: gauge.max,
    };
    let mut all: Vec<QueueUse> = upper.series.gauges.iter().filter(|(name, _)| is_queue(name)).map(of).collect();
    let grown = |queue: &QueueUse| queue.upper_mean / queue.lower_mean.max(0.5);
    all.sort_by(|a, b| grown(b).total_cmp(&grown(a)));
    all
}

fn stages(lower: &Seen, upper: &Seen) -> Vec<StageUse> {
    let of = |stage: &str| StageUse {
        stage: stage.to_owned(),
        lower_ms: lower.series.stage_ms(stage),
        upper_ms: upper.series.stage_ms(stage),
    };
    STAGES.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use shardpay_run::{Lateness, Shortfall};

    fn seen(machine_busy: f64, core_s: f64, queue: f64) -> Seen {
        let node = Server::node(0, 1).unwrap();
        let mut series = Series::default();
        series.add(&format!("gauges queue_execution={queue}i,accounts=9000i,queue_core=1i 5\n"), (0, 9));
        series.add(&format!("histograms,metric=stage_executed_us count=1i,sum_us={}i 5\n", queue * 1_000.0), (0, 9));
        Seen {
            machine_busy,
            cores: 2,
            load: LoadResult::default(),
            threads: ThreadTimes { cpu_us: [((node, "core".to_owned()), (core_s * 1e6) as u64)].into(), seconds: 10.0 },
            series,
        }
    }

    fn text(lower: &Seen, upper: &Seen) -> (LimitKind, String) {
        let limit = diagnose(lower, upper);
        (limit.what, limit.text)
    }

    #[test]
    fn the_first_limit_that_holds_is_named() {
        let idle = seen(0.3, 3.0, 1.0);
        let (what, said) = text(&idle, &seen(0.97, 9.5, 400.0));
        assert_eq!(what, LimitKind::MachineCpu);
        assert!(said.starts_with("97 % of the machine's 2 cores were in use (most by node core 0.95)"), "{said}");
        let (what, said) = text(&idle, &seen(0.6, 9.5, 400.0));
        assert_eq!(what, LimitKind::ThreadCpu);
        assert_eq!(said, "`core` of 0-1 used 0.95 cores; the stage that grew most is `executed`, 1.0 to 400.0 ms");
        let (what, said) = text(&idle, &seen(0.6, 5.0, 400.0));
        assert_eq!(what, LimitKind::Queue);
        assert!(said.starts_with("`queue_execution` held 400 on average (1 before)"), "{said}");
        assert_eq!(text(&idle, &seen(0.6, 5.0, 2.0)).0, LimitKind::Latency);
    }

    #[test]
    fn a_load_generator_that_is_the_limit_comes_before_all() {
        let mut upper = seen(0.97, 9.5, 400.0);
        let late = Lateness { skipped: 9, lag_p99_ms: 50.0, loadgen_cores: 1.0, machine_busy: 0.5 };
        upper.load.shortfalls = vec![Shortfall::LoadgenLate(late)];
        assert_eq!(text(&seen(0.3, 3.0, 1.0), &upper).0, LimitKind::Loadgen);
    }
}
