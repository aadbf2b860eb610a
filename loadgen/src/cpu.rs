//! What this process and the whole machine spent of their cores over the load: tells a slow loadgen from a
//! machine that had no core left for it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};

/// Counts at one moment.
pub struct Cpu {
    at: Instant,
    own: Duration,
    machine: MachineTicks,
}

/// What was spent since then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuUse {
    /// CPU time of this process.
    pub own: Duration,
    /// Cores this process used on average.
    pub own_cores: f64,
    /// Share of all the machine's cores in use on average.
    pub machine_busy: f64,
}

/// Clock ticks over all cores since the machine started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MachineTicks {
    idle: u64,
    all: u64,
}

impl Cpu {
    /// Reads the clocks.
    pub fn now() -> Result<Self> {
        let text = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
        let machine = machine_ticks(&text).context("/proc/stat has no line of all CPUs")?;
        let time = clock_gettime(ClockId::ProcessCPUTime);
        let own = Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0));
        Ok(Self { at: Instant::now(), own, machine })
    }

    /// What was spent from `earlier` to here.
    pub fn since(&self, earlier: &Self) -> CpuUse {
        let seconds = self.at.saturating_duration_since(earlier.at).as_secs_f64().max(0.001);
        let own = self.own.saturating_sub(earlier.own);
        let all = self.machine.all.saturating_sub(earlier.machine.all).max(1);
        let idle = self.machine.idle.saturating_sub(earlier.machine.idle).min(all);
        CpuUse { own, own_cores: own.as_secs_f64() / seconds, machine_busy: 1.0 - idle as f64 / all as f64 }
    }
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal. What a hypervisor
/// stole counts as in use: nobody here could have it. Guests' time stands in user's already.
fn machine_ticks(text: &str) -> Option<MachineTicks> {
    let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|word| word.parse().ok()).collect();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some(MachineTicks { idle, all: ticks.iter().sum() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_share_is_without_its_idle_time() {
        let ticks = |text| machine_ticks(text).expect("a line");
        let (start, end) =
            (ticks("cpu  10 0 10 70 10 0 0 0 5 0\ncpu0 1 1 1 1\n"), ticks("cpu  70 0 30 75 15 5 3 2 9 0\n"));
        assert_eq!((start, end), (MachineTicks { idle: 80, all: 100 }, MachineTicks { idle: 90, all: 200 }));
        let (at, own) = (Instant::now(), Duration::ZERO);
        let earlier = Cpu { at, own, machine: start };
        let later = Cpu { at: at + Duration::from_secs(2), own: Duration::from_millis(500), machine: end };
        let used = later.since(&earlier);
        assert_eq!((used.own_cores, used.machine_busy), (0.25, 0.9));
        assert_eq!(machine_ticks("intr 5\n"), None);
        assert!(Cpu::now().is_ok(), "this machine has them");
    }
}
