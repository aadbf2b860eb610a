//! What this process uses, from `/proc/self`, as metrics.

use std::fs;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use shardpay_telemetry::{Recorder, names};

/// Clock ticks per second in `/proc/self/stat`: 100 on every Linux, whatever the kernel's own clock.
const TICKS_PER_SECOND: u64 = 100;

/// Brings processor time, memory, disk, network and start of this process up to date. What cannot be read (some
/// containers hide it) stays as it was.
pub fn measure_process(recorder: &Recorder) {
    static STARTED: OnceLock<u64> = OnceLock::new();
    let started = STARTED.get_or_init(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
    });
    recorder.gauge(names::STARTED_MS).set(*started);
    if let Some(cpu_us) = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| cpu_us(&stat)) {
        recorder.counter(names::PROCESS_CPU_US).advance_to(cpu_us);
    }
    if let Ok(status) = fs::read_to_string("/proc/self/status")
        && let Some(kib) = figure(&status, "VmRSS:")
    {
        recorder.gauge(names::MEMORY_BYTES).set(kib.saturating_mul(1_024));
    }
    if let Ok(disk) = fs::read_to_string("/proc/self/io") {
        let counters = [(names::PROCESS_READ_BYTES, "read_bytes:"), (names::PROCESS_WRITTEN_BYTES, "write_bytes:")];
        for (name, key) in counters {
            recorder.counter(name).advance_to(figure(&disk, key).unwrap_or(0));
        }
    }
    if let Some((received, sent)) = fs::read_to_string("/proc/self/net/dev").ok().map(|table| traffic(&table)) {
        static BEFORE: OnceLock<(u64, u64)> = OnceLock::new();
        let before = BEFORE.get_or_init(|| (received, sent));
        recorder.counter(names::NETWORK_BYTES_IN).advance_to(received.saturating_sub(before.0));
        recorder.counter(names::NETWORK_BYTES_OUT).advance_to(sent.saturating_sub(before.1));
    }
}

/// Bytes received and sent over all interfaces: the first and the ninth number behind each name.
fn traffic(table: &str) -> (u64, u64) {
    let lines = table.lines().filter_map(|line| line.split_once(':'));
    lines.fold((0, 0), |(received, sent), (_, numbers)| {
        let number = |at| numbers.split_whitespace().nth(at).and_then(|word| word.parse().ok()).unwrap_or(0u64);
        (received + number(0), sent + number(8))
    })
}

/// User and system time; the program's name, which may hold anything, ends with the last `)`.
fn cpu_us(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(ticks * (1_000_000 / TICKS_PER_SECOND))
}

/// The number after `key` at the start of a line.
fn figure(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use shardpay_telemetry::{ServerKind, ServerTag};

    use super::*;

    #[test]
    fn the_stat_file_is_read_whatever_the_program_is_called() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 100 1 1";
        assert_eq!(cpu_us(stat), Some(3_000_000));
        assert_eq!(cpu_us("nonsense"), None);
    }

    #[test]
    fn traffic_is_that_of_all_interfaces() {
        let table = "Inter-|   Receive                                                |  Transmit\n \
                     face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets\n    \
                     lo:     100       7    0    0    0     0          0         0      200       7 0 0 0 0 0 0\n  \
                     eth0:    1000      9    0    0    0     0          0         0     5000      20 0 0 0 0 0 0\n";
        assert_eq!(traffic(table), (1_100, 5_200));
    }

    #[test]
    fn a_process_uses_something() {
        let recorder = Recorder::new(ServerTag::new(ServerKind::Loadgen, "l"));
        measure_process(&recorder);
        assert!(recorder.gauge(names::MEMORY_BYTES).get() > 1 << 18);
        assert!(recorder.gauge(names::STARTED_MS).get() > 1_700_000_000_000);
    }
}
