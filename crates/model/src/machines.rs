//! Processors: threads that work off their jobs in order, on the cores of a machine.
//!
//! A thread does one job at a time. Threads that have something to do share the cores of their machine in turns of at
//! most [`TURN_US`]. A machine without cores stands for one that is never short of them. Fractions of a microsecond are
//! carried over to a thread's next job, so that nothing is lost to rounding.

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

/// A thread has a core for so long; [`Machines::turn_over`] is to be called then.
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
    /// Of the first job, what is left.
    left_us: u64,
    carry_us: f64,
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
}

impl<T> Machines<T> {
    pub(crate) const fn new(wake_us: f64) -> Self {
        Self { machines: Vec::new(), threads: Vec::new(), wake_us }
    }

    /// A machine with so many cores; 0: more than it can use.
    pub(crate) fn add_machine(&mut self, cores: usize) -> usize {
        let machine = Machine { cores_free: cores, limited: cores > 0, ready: VecDeque::new(), done: Work::default() };
        self.machines.push(machine);
        self.machines.len() - 1
    }

    /// A thread on a machine.
    pub(crate) fn add_thread(&mut self, machine: usize) -> ThreadId {
        self.threads.push(Thread { machine, jobs: VecDeque::new(), left_us: 0, carry_us: 0.0 });
        self.threads.len() - 1
    }

    /// What a machine's cores have done.
    pub(crate) fn done(&self, machine: usize) -> Work {
        self.machines[machine].done
    }

    /// Whether a thread has nothing to do.
    pub(crate) fn is_idle(&self, thread: ThreadId) -> bool {
        self.threads[thread].jobs.is_empty()
    }

    /// Gives a thread a job. A thread that slept is woken, which is work of its own unless the job is free.
    pub(crate) fn submit(&mut self, thread: ThreadId, work: Work, then: T) -> Option<Turn> {
        let idle = self.is_idle(thread);
        let free = work.total_us() == 0.0;
        let work = if idle && !free { work.and(Kind::Wake, self.wake_us) } else { work };
        self.threads[thread].jobs.push_back(Job { work, then });
        if !idle {
            return None;
        }
        self.take_up(thread);
        let machine = self.threads[thread].machine;
        self.machines[machine].ready.push_back(thread);
        self.next_turn(machine)
    }

    /// A thread's turn is over: what follows the job if that is done, and the turn that begins.
    pub(crate) fn turn_over(&mut self, turn: Turn) -> (Option<T>, Option<Turn>) {
        let of = &mut self.threads[turn.thread];
        let machine = of.machine;
        of.left_us -= turn.us;
        let mut then = None;
        if of.left_us == 0 {
            let job = of.jobs.pop_front().expect("a thread has turns only with a job");
            self.machines[machine].done.add(&job.work);
            then = Some(job.then);
        }
        if !self.threads[turn.thread].jobs.is_empty() {
            if then.is_some() {
                self.take_up(turn.thread);
            }
            self.machines[machine].ready.push_back(turn.thread);
        }
        if self.machines[machine].limited {
            self.machines[machine].cores_free += 1;
        }
        (then, self.next_turn(machine))
    }

    /// The first job of a thread begins.
    fn take_up(&mut self, thread: ThreadId) {
        let thread = &mut self.threads[thread];
        let us = thread.jobs[0].work.total_us() + thread.carry_us;
        thread.left_us = us as u64;
        thread.carry_us = us.fract();
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
        Some(Turn { thread, us: self.threads[thread].left_us.min(TURN_US) })
    }
}

#[cfg(test)]
mod tests {
    use shardpay_sim::Timeline;

    use super::*;

    /// Runs jobs (thread, microseconds) given at time 0; when each was done.
    fn run(cores: usize, threads: usize, jobs: &[(usize, f64)]) -> Vec<(u64, usize)> {
        let mut machines = Machines::new(0.0);
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
            let (then, next) = machines.turn_over(turn);
            done.extend(then.map(|number| (line.now().0, number)));
            next.into_iter().for_each(|turn| line.after(later(turn), turn));
        }
        let spent: f64 = jobs.iter().map(|(_, us)| us).sum();
        assert!((machines.done(0).total_us() - spent).abs() < 1e-6, "all work is counted");
        done
    }

    #[test]
    fn threads_share_cores_in_turns() {
        assert_eq!(run(1, 2, &[(0, 300.0), (1, 500.0), (0, 100.0)]), [(300, 0), (800, 1), (900, 2)]);
        assert_eq!(run(2, 2, &[(0, 300.0), (1, 500.0), (0, 100.0)]), [(300, 0), (400, 2), (500, 1)]);
        // a long job lets a short one in after a turn
        assert_eq!(run(1, 2, &[(0, 3_000.0), (1, 200.0)]), [(1_200, 1), (3_200, 0)]);
        assert_eq!(run(0, 3, &[(0, 50.0), (1, 50.0), (2, 50.0)]), [(50, 0), (50, 1), (50, 2)]);
    }

    #[test]
    fn fractions_add_up() {
        let jobs: Vec<_> = (0..100).map(|_| (0, 0.26)).collect();
        assert_eq!(run(1, 1, &jobs).last(), Some(&(26, 99)));
    }

    #[test]
    fn only_sleeping_threads_are_woken() {
        let mut machines = Machines::new(5.0);
        let machine = machines.add_machine(1);
        let thread = machines.add_thread(machine);
        let first = machines.submit(thread, Work::of(Kind::Signatures, 10.0), 0).expect("starts");
        assert!(machines.submit(thread, Work::of(Kind::Signatures, 10.0), 1).is_none());
        assert_eq!(first.us, 15);
        let (_, second) = machines.turn_over(first);
        machines.turn_over(second.expect("goes on"));
        assert_eq!((machines.done(machine).us(Kind::Wake), machines.done(machine).us(Kind::Signatures)), (5.0, 20.0));
        assert_eq!(machines.submit(thread, Work::default(), 2).map(|turn| turn.us), Some(0));
    }
}
