//! CPU time by thread, once a second over the load, into `threads.csv`: `at_ms` since the load began, the server, the
//! threads' name, and what all its threads of that name used so far.
//!
//! A thread that ended is no longer counted; the servers' threads live as long as they do.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use crate::procfs::{ProcessId, thread_usage};
use crate::server::Server;

/// First line of the file.
pub const HEADER: &str = "at_ms,server,thread,cpu_us";
/// Between two samples.
const EVERY: Duration = Duration::from_secs(1);

/// The sampler.
pub struct Threads {
    out: File,
    due: Duration,
}

impl Threads {
    /// Starts the file.
    pub fn create(path: &Path) -> io::Result<Self> {
        let mut out = File::create(path)?;
        writeln!(out, "{HEADER}")?;
        Ok(Self { out, due: Duration::ZERO })
    }

    /// Writes a line for each name of a thread, when a second has passed.
    pub fn sample(&mut self, processes: &BTreeMap<Server, ProcessId>, at: Duration) -> io::Result<()> {
        if at < self.due {
            return Ok(());
        }
        self.due = at + EVERY;
        let mut text = String::new();
        for (server, id) in processes {
            for (thread, cpu_us) in thread_usage(id) {
                text.push_str(&format!("{},{server},{thread},{cpu_us}\n", at.as_millis()));
            }
        }
        self.out.write_all(text.as_bytes())
    }
}

/// What each server's threads used within a part of the load, by server and name, in microseconds; and how long that
/// part was by the samples.
pub struct ThreadTimes {
    /// By server and thread.
    pub cpu_us: BTreeMap<(Server, String), u64>,
    /// Between the first and the last sample.
    pub seconds: f64,
}

impl ThreadTimes {
    /// Reads a file; lines that are no sample are passed over.
    pub fn read(path: &Path, from: Duration, to: Duration) -> io::Result<Self> {
        Ok(Self::of(&fs::read_to_string(path)?, from, to))
    }

    fn of(text: &str, from: Duration, to: Duration) -> Self {
        let mut first: BTreeMap<(Server, String), u64> = BTreeMap::new();
        let mut last = first.clone();
        let (mut begin, mut end) = (None, 0);
        for line in text.lines().skip(1) {
            let mut fields = line.splitn(4, ',');
            let mut next = || fields.next().unwrap_or_default();
            let (at, server, thread, cpu_us) = (next(), next(), next(), next());
            let (Ok(at), Ok(server), Ok(cpu_us)) = (at.parse::<u64>(), server.parse::<Server>(), cpu_us.parse::<u64>())
            else {
                continue;
            };
            if !(from.as_millis()..=to.as_millis()).contains(&u128::from(at)) {
                continue;
            }
            begin = begin.or(Some(at));
            end = at;
            let key = (server, thread.to_owned());
            first.entry(key.clone()).or_insert(cpu_us);
            last.insert(key, cpu_us);
        }
        let used = last.into_iter().map(|(key, cpu_us)| {
            let before = first.get(&key).copied().unwrap_or_default();
            (key, cpu_us.saturating_sub(before))
        });
        let seconds = end.saturating_sub(begin.unwrap_or_default()) as f64 / 1_000.0;
        Self { cpu_us: used.collect(), seconds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_differences_within_the_part_asked_for() {
        let text = "at_ms,server,thread,cpu_us\n900,0-0,core,5\n1000,0-0,core,10\n1000,loadgen-0,a b,1\n2000,0-0,core,30\n\
                    nonsense\n3000,0-0,core,70\n3000,loadgen-0,a b,4\n4000,0-0,core,900\n";
        let times = ThreadTimes::of(text, Duration::from_secs(1), Duration::from_secs(3));
        let node = Server::node(0, 0).unwrap();
        let expected = [((node, "core".to_owned()), 60), ((Server::Loadgen(0), "a b".to_owned()), 3)];
        assert_eq!((times.cpu_us, times.seconds), (expected.into(), 2.0));
        assert_eq!(ThreadTimes::of("", Duration::ZERO, Duration::MAX).seconds, 0.0);
    }

    #[test]
    fn the_threads_of_this_process_are_sampled_once_a_second() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("threads.csv");
        let mut threads = Threads::create(&path).unwrap();
        let own = [(Server::Signaler, ProcessId::own().unwrap())].into();
        for at_ms in [0, 500, 1_000] {
            threads.sample(&own, Duration::from_millis(at_ms)).unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        let times: std::collections::BTreeSet<&str> =
            text.lines().skip(1).filter_map(|line| line.split(',').next()).collect();
        assert_eq!(times, ["0", "1000"].into());
    }
}
