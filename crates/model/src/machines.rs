//! Processors: threads that work off their jobs in order, on the cores of a machine.
//!
//! A thread does one job at a time. Threads that have something to do share the cores of their machine: one that has a
//! core keeps it from job to job, until it has nothing left to do or has had it for [`TURN_US`] while others wait. A machine
//! without cores stands for one that is never short of them. Fractions of a microsecond are carried over to a thread's next
//! job, so that nothing is lost to rounding.

use std::collections::VecDeque;

/// Longest a thread keeps a core while others wait.
const TURN_US: u64 = 1_000;

/// What processor time is spent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Signatures, made and checked.
    Signatures,
    /// Checks of structure, hashes, mempool, consensus, certificates, relay.
    Core,
    /// Executing commits.
    Execute,
    /// Writing and syncing.
    Store,
    /// Messages.
    Network,
    /// Waking threads.
    Wake,
    /// Clients, when they share the machine.
    Client,
}

/// All kinds with their names.
pub const KINDS: [(Kind, &str); 7] = [
    (Kind::Signatures, "signatures"),
    (Kind::Core, "core"),
    (Kind::Execute, "execute"),
    (Kind::Store, "store"),
    (Kind::Network, "network"),
    (Kind::Wake, "wake-ups"),
    (Kind::Client, "clients"),
];

/// Microseconds of one core, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Work([f64; KINDS.len()]);

impl Work {
    /// So much of one kind.
    pub fn of(kind: Kind, us: f64) -> Self {
        Self::default().and(kind, us)
    }

    /// And so much of another.
    #[must_use]
    pub fn and(mut self, kind: Kind, us: f64) -> Self {
        self.0[kind as usize] += us;
        self
    }

    /// Of one kind.
    pub fn us(&self, kind: Kind) -> f64 {
        self.0[kind as usize]
    }

    /// Of all kinds.
    pub fn total_us(&self) -> f64 {
        self.0.iter().sum()
    }

    /// What was added since `earlier`.
    #[must_use]
    pub fn since(mut self, earlier: &Self) -> Self {
        self.0.iter_mut().zip(earlier.0).for_each(|(us, before)| *us -= before);
        self
    }

    /// As a thread does it that has just slept: everything but messages, whose cost was measured so, takes `cold` times as
    /// long.
    #[must_use]
    fn after_sleep(mut self, cold: f64) -> Self {
        for (kind, _) in KINDS.iter().filter(|(kind, _)| *kind != Kind::Network) {
            self.0[*kind as usize] *= cold;
        }
        self
    }

    /// Divided by a number of payments; not a number when there are none.
    #[must_use]
    pub(crate) fn per(mut self, payments: f64) -> Self {
        self.0.iter_mut().for_each(|us| *us /= payments);
        self
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(us, more)| *us += more);
    }
}

/// A thread's number.
pub(crate) type ThreadId = usize;

/// A thread has a core for so long; [`Machines::turn_over`] is to be called then, and [`Machines::go_on`] once what
/// follows the job has been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) thread: ThreadId,
    pub(crate) us: u64,
}

struct Job<T> {
    work: Work,
    then: T,
}

struct Thread<T> {
    machine: usize,
    jobs: VecDeque<Job<T>>,
    /// Of the first job, what is left; none when it has not begun.
    left_us: Option<u64>,
    carry_us: f64,
    /// How long it has had a core; none when it has none.
    since_us: Option<u64>,
}

struct Machine {
    cores_free: usize,
    limited: bool,
    ready: VecDeque<ThreadId>,
    done: Work,
}

/// All machines and their threads; `T` is what follows a job.
pub(crate) struct Machines<T> {
    machines: Vec<Machine>,
    threads: Vec<Thread<T>>,
    wake_us: f64,
    cold: f64,
}

impl<T> Machines<T> {
    /// A thread that slept takes `wake_us` to wake, and `cold` times as long for its first job.
    pub(crate) const fn new(wake_us: f64, cold: f64) -> Self {
        Self { machines: Vec::new(), threads: Vec::new(), wake_us, cold }
    }

    /// A machine with so many cores; 0: more than it can use.
    pub(crate) fn add_machine(&mut self, cores: usize) -> usize {
        let machine = Machine { cores_free: cores, limited: cores > 0, ready: VecDeque::new(), done: Work::default() };
        self.machines.push(machine);
        self.machines.len() - 1
    }

    /// A thread on a machine.
    pub(crate) fn add_thread(&mut self, machine: usize) -> ThreadId {
        self.threads.push(Thread { machine, jobs: VecDeque::new(), left_us: None, carry_us: 0.0, since_us: None });
        self.threads.len() - 1
    }

    /// What a machine's cores have done.
    pub(crate) fn done(&self, machine: usize) -> Work {
        self.machines[machine].done
    }

    /// Whether a thread has no job, not even one that has just ended.
    pub(crate) fn sleeps(&self, thread: ThreadId) -> bool {
        self.threads[thread].since_us.is_none() && self.has_no_more(thread)
    }

    /// Whether no job waits for a thread.
    pub(crate) fn has_no_more(&self, thread: ThreadId) -> bool {
        self.threads[thread].jobs.is_empty()
    }

    /// Gives a thread a job. A thread that slept is woken, which is work of its own, and begins with cold caches; unless
    /// the job is free.
    pub(crate) fn submit(&mut self, thread: ThreadId, work: Work, then: T) -> Option<Turn> {
        let sleeps = self.sleeps(thread);
        let free = work.total_us() == 0.0;
        let work = if sleeps && !free { work.after_sleep(self.cold).and(Kind::Wake, self.wake_us) } else { work };
        self.threads[thread].jobs.push_back(Job { work, then });
        if !sleeps {
            return None;
        }
        let machine = self.threads[thread].machine;
        self.machines[machine].ready.push_back(thread);
        self.next_turn(machine)
    }

    /// A thread's turn is over: what follows the job if that is done. The thread keeps its core until [`Self::go_on`].
    pub(crate) fn turn_over(&mut self, turn: Turn) -> Option<T> {
        let of = &mut self.threads[turn.thread];
        of.since_us = of.since_us.map(|us| us + turn.us);
        let left = of.left_us.unwrap_or_default() - turn.us;
        of.left_us = Some(left).filter(|left| *left > 0);
        if left > 0 {
            return None;
        }
        let job = of.jobs.pop_front().expect("a thread has turns only with a job");
        let machine = of.machine;
        self.machines[machine].done.add(&job.work);
        Some(job.then)
    }

    /// After a turn: the thread goes on, or another one gets its core.
    pub(crate) fn go_on(&mut self, thread: ThreadId) -> Option<Turn> {
        let of = &self.threads[thread];
        let (machine, had) = (of.machine, of.since_us.unwrap_or_default());
        let is_alone = self.machines[machine].ready.is_empty();
        if !self.has_no_more(thread) && (had < TURN_US || is_alone) {
            return Some(self.turn(thread, if had < TURN_US { had } else { 0 }));
        }
        self.threads[thread].since_us = None;
        if !self.has_no_more(thread) {
            self.machines[machine].ready.push_back(thread);
        }
        if self.machines[machine].limited {
            self.machines[machine].cores_free += 1;
        }
        self.next_turn(machine)
    }

    /// A thread that has had a core for `had` works on its first job.
    fn turn(&mut self, thread: ThreadId, had: u64) -> Turn {
        let of = &mut self.threads[thread];
        of.since_us = Some(had);
        let left = match of.left_us {
            Some(left) => left,
            None => {
                let us = of.jobs[0].work.total_us() + of.carry_us;
                of.carry_us = us.fract();
                us as u64
            }
        };
        of.left_us = Some(left);
        Turn { thread, us: left.min(TURN_US - had) }
    }

    fn next_turn(&mut self, machine: usize) -> Option<Turn> {
        let of = &mut self.machines[machine];
        if of.limited && of.cores_free == 0 {
            return None;
        }
        let thread = of.ready.pop_front()?;
        if of.limited {
            of.cores_free -= 1;
        }
        Some(self.turn(thread, 0))
    }
}

#[cfg(test)]
mod tests {
    use shardpay_sim::Timeline;

    use super::*;

    /// Runs jobs (thread, microseconds) given at time 0; when each was done.
    fn run(cores: usize, threads: usize, jobs: &[(usize, f64)]) -> Vec<(u64, usize)> {
        let mut machines = Machines::new(0.0, 1.0);
        machines.add_machine(cores);
        (0..threads).for_each(|_| {
            machines.add_thread(0);
        });
        let (mut line, mut done) = (Timeline::new(), Vec::new());
        let later = |turn: Turn| std::time::Duration::from_micros(turn.us);
        for (number, (thread, us)) in jobs.iter().enumerate() {
            if let Some(turn) = machines.submit(*thread, Work::of(Kind::Core, *us), number) {
                line.after(later(turn), turn);
            }
        }
        while let Some(turn) = line.take() {
            done.extend(machines.turn_over(turn).map(|number| (line.now().0, number)));
            machines.go_on(turn.thread).into_iter().for_each(|turn| line.after(later(turn), turn));
        }
        let spent: f64 = jobs.iter().map(|(_, us)| us).sum();
        assert!((machines.done(0).total_us() - spent).abs() < 1e-6, "all work is counted");
        done
    }

    #[test]
    fn threads_share_cores_in_turns() {
        assert_eq!(run(1, 2, &[(0, 300.0), (1, 500.0), (0, 100.0)]), [(300, 0), (400, 2), (900, 1)]);
        assert_eq!(run(2, 2, &[(0, 300.0), (1, 500.0), (0, 100.0)]), [(300, 0), (400, 2), (500, 1)]);
        // a long job lets a short one in after a turn
        assert_eq!(run(1, 2, &[(0, 3_000.0), (1, 200.0)]), [(1_200, 1), (3_200, 0)]);
        // so do many short ones
        let many = [(0, 400.0), (0, 400.0), (0, 400.0), (1, 100.0)];
        assert_eq!(run(1, 2, &many), [(400, 0), (800, 1), (1_100, 3), (1_300, 2)]);
        assert_eq!(run(0, 3, &[(0, 50.0), (1, 50.0), (2, 50.0)]), [(50, 0), (50, 1), (50, 2)]);
    }

    #[test]
    fn fractions_add_up() {
        let jobs: Vec<_> = (0..100).map(|_| (0, 0.26)).collect();
        assert_eq!(run(1, 1, &jobs).last(), Some(&(26, 99)));
    }

    #[test]
    fn only_sleeping_threads_are_woken() {
        let work = Work::of(Kind::Signatures, 10.0).and(Kind::Network, 4.0);
        let mut machines = Machines::new(5.0, 1.5);
        let machine = machines.add_machine(1);
        let thread = machines.add_thread(machine);
        let first = machines.submit(thread, work, 0).expect("starts");
        assert_eq!(first.us, 24);
        assert!(machines.submit(thread, work, 1).is_none());
        assert_eq!(machines.turn_over(first), Some(0));
        let second = machines.go_on(thread).expect("goes on");
        assert_eq!((second.us, machines.turn_over(second)), (14, Some(1)));
        // what follows its last job is given to it before it would sleep
        assert!(!machines.sleeps(thread) && machines.has_no_more(thread));
        assert!(machines.submit(thread, work, 2).is_none());
        let third = machines.go_on(thread).expect("goes on");
        assert_eq!((third.us, machines.turn_over(third)), (14, Some(2)));
        assert_eq!(machines.go_on(thread), None);
        assert!(machines.sleeps(thread));
        let done = machines.done(machine);
        assert_eq!((done.us(Kind::Wake), done.us(Kind::Signatures), done.us(Kind::Network)), (5.0, 35.0, 12.0));
        assert_eq!(machines.submit(thread, Work::default(), 3).map(|turn| turn.us), Some(0));
    }
}
