//! Queues of lines, and the tasks that empty them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Client;
use shardpay_telemetry::{Counter, Gauge, Recorder, names};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::send::{Sent, write};
use crate::target::{PushError, PushTargets, Resolved};

/// Lines that wait for one endpoint, in bytes: minutes of a node.
const QUEUE_BYTES_MAX: usize = 4 << 20;
/// Lines in one write, in bytes before compression.
const WRITE_BYTES_MAX: usize = 1 << 20;
/// An endpoint that does not answer within this failed.
const TIMEOUT: Duration = Duration::from_secs(10);
/// First pause after a failure; doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// Longest pause that is our own choice: the page of a restarted demo app fills again within this.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Pushes lines to all endpoints until it is finished or dropped.
pub struct Pusher {
    queues: Vec<Arc<Queue>>,
    tasks: JoinSet<()>,
}

/// Lines that wait for one endpoint.
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Notify,
    meters: Meters,
    bytes_max: usize,
    shown: String,
}

#[derive(Default)]
struct Waiting {
    chunks: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Taken out and not answered yet.
    sending: bool,
    dropping: bool,
}

#[derive(Clone)]
struct Meters {
    sent: Counter,
    dropped: Counter,
    failures: Counter,
    queue: Gauge,
}

impl Pusher {
    /// Starts a task per target on the current tokio runtime. `key` is the list's name in the configuration.
    pub fn start(targets: &PushTargets, key: &str, recorder: &Recorder) -> Result<Self, PushError> {
        Self::start_sized(targets, key, recorder, QUEUE_BYTES_MAX)
    }

    /// The same, with a queue of so many bytes for each endpoint: for somebody who passes on what many push.
    pub fn start_sized(
        targets: &PushTargets,
        key: &str,
        recorder: &Recorder,
        queue_bytes_max: usize,
    ) -> Result<Self, PushError> {
        // the program may have installed it already
        let _ = rustls::crypto::ring::default_provider().install_default();
        let meters = Meters {
            sent: recorder.counter(names::PUSH_POINTS_SENT),
            dropped: recorder.counter(names::PUSH_POINTS_DROPPED),
            failures: recorder.counter(names::PUSH_FAILURES),
            queue: recorder.gauge(names::PUSH_QUEUE_BYTES),
        };
        let client = Client::builder().timeout(TIMEOUT).no_proxy().build().map_err(PushError::Client)?;
        let mut pusher = Self { queues: Vec::new(), tasks: JoinSet::new() };
        for (index, target) in targets.0.iter().enumerate() {
            let target = target.resolve(&format!("{key}[{index}]"))?;
            let queue = Arc::new(Queue {
                waiting: Mutex::default(),
                changed: Notify::new(),
                meters: meters.clone(),
                bytes_max: queue_bytes_max,
                shown: target.shown.clone(),
            });
            pusher.tasks.spawn(run(client.clone(), target, queue.clone()));
            pusher.queues.push(queue);
        }
        Ok(pusher)
    }

    /// Queues whole lines of line protocol for every endpoint.
    pub fn push(&self, lines: &[u8]) {
        if lines.is_empty() {
            return;
        }
        let mut bytes = 0;
        for queue in &self.queues {
            bytes += queue.add(lines);
        }
        if let Some(queue) = self.queues.first() {
            queue.meters.queue.set(bytes as u64);
        }
    }

    /// Waits until everything is sent, at most for `patience`, and ends.
    pub async fn finish(mut self, patience: Duration) {
        let sent = async {
            for queue in &self.queues {
                while !queue.is_idle() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        };
        if tokio::time::timeout(patience, sent).await.is_err() {
            tracing::warn!("some telemetry was not pushed before the end");
        }
        self.tasks.shutdown().await;
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds lines, at the cost of the oldest ones when there is no room. Returns the bytes that wait.
    fn add(&self, lines: &[u8]) -> usize {
        let mut waiting = self.waiting();
        let mut dropped = 0;
        while waiting.bytes + lines.len() > self.bytes_max {
            let Some(oldest) = waiting.chunks.pop_front() else { break };
            waiting.bytes -= oldest.len();
            dropped += points(&oldest);
        }
        if lines.len() > self.bytes_max {
            dropped += points(lines);
        } else {
            waiting.bytes += lines.len();
            waiting.chunks.push_back(lines.to_vec());
        }
        if dropped > 0 {
            self.meters.dropped.add(dropped);
            if !std::mem::replace(&mut waiting.dropping, true) {
                tracing::warn!(endpoint = %self.shown, "the push queue is full: the oldest telemetry is dropped");
            }
        }
        let bytes = waiting.bytes;
        drop(waiting);
        self.changed.notify_one();
        bytes
    }

    /// Takes lines for one write out; waits for some.
    async fn take(&self) -> Vec<u8> {
        loop {
            {
                let mut waiting = self.waiting();
                waiting.sending = false;
                if let Some(mut taken) = waiting.chunks.pop_front() {
                    while let Some(next) = waiting.chunks.front()
                        && taken.len() + next.len() <= WRITE_BYTES_MAX
                    {
                        taken.extend_from_slice(next);
                        waiting.chunks.pop_front();
                    }
                    waiting.bytes -= taken.len();
                    waiting.sending = true;
                    return taken;
                }
                waiting.dropping = false;
            }
            self.changed.notified().await;
        }
    }

    fn is_idle(&self) -> bool {
        let waiting = self.waiting();
        waiting.chunks.is_empty() && !waiting.sending
    }
}

fn points(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

async fn run(client: Client, target: Resolved, queue: Arc<Queue>) {
    let mut link = Link { client, target, queue, pause: PAUSE_MIN, failing: false };
    loop {
        let lines = link.queue.take().await;
        link.deliver(lines).await;
    }
}

/// A task's view of its endpoint.
struct Link {
    client: Client,
    target: Resolved,
    queue: Arc<Queue>,
    pause: Duration,
    failing: bool,
}

impl Link {
    /// Sends lines, in halves where they are too many, until they are taken or refused for good.
    async fn deliver(&mut self, lines: Vec<u8>) {
        let mut parts = vec![lines];
        while let Some(part) = parts.pop() {
            match write(&self.client, &self.target, &part).await {
                Sent::Taken => {
                    self.queue.meters.sent.add(points(&part));
                    self.recovered();
                }
                Sent::TooLarge => match halves(&part) {
                    Some((first, second)) => parts.extend([second, first]),
                    None => self.drop_points(&part, "a single line is too large"),
                },
                Sent::Refused { why } => self.drop_points(&part, &why),
                Sent::Later { wait, why } => {
                    self.queue.meters.failures.add(1);
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(endpoint = %self.target.shown, why, "telemetry cannot be pushed; trying again");
                    }
                    tokio::time::sleep(wait.unwrap_or_default().max(self.pause)).await;
                    self.pause = (self.pause * 2).min(PAUSE_MAX);
                    parts.push(part);
                }
            }
        }
    }

    fn recovered(&mut self) {
        self.pause = PAUSE_MIN;
        if std::mem::take(&mut self.failing) {
            tracing::info!(endpoint = %self.target.shown, "telemetry is pushed again");
        }
    }

    fn drop_points(&self, lines: &[u8], why: &str) {
        self.queue.meters.dropped.add(points(lines));
        tracing::warn!(endpoint = %self.target.shown, why, "telemetry was refused");
    }
}

/// Cuts lines in two about the middle; `None` when it is one line.
fn halves(lines: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let middle = lines.len() / 2;
    let after = lines[middle..].iter().position(|byte| *byte == b'\n').map(|at| middle + at + 1);
    let before = || lines[..middle].iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
    let cut = after.filter(|at| *at < lines.len()).or_else(before)?;
    Some((lines[..cut].to_vec(), lines[cut..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_whole_lines() {
        let (first, second) = halves(b"a\nbb\ncc\n").expect("three lines");
        assert_eq!((first.as_slice(), second.as_slice()), (&b"a\nbb\n"[..], &b"cc\n"[..]));
        let (first, second) = halves(b"a\nbbbbbbbbbbb\n").expect("two lines");
        assert_eq!((first.as_slice(), second.as_slice()), (&b"a\n"[..], &b"bbbbbbbbbbb\n"[..]));
        assert_eq!(halves(b"only one\n"), None);
    }
}
