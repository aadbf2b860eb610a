//! The running app: what its threads share, and the clock that makes frames.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use shardpay_push::Pusher;
use shardpay_telemetry::{Counter, Recorder, names};
use tokio::sync::{Semaphore, watch};

use crate::alarms::{Alarm, Alarms, Losses};
use crate::frame::{Frame, View};
use crate::history::{History, Row};
use crate::ingest::{WriteRules, now_us, room};
use crate::replay::Replayed;
use crate::store::{Limits, Store};

/// Between two looks at alarms.
const LOOK: Duration = Duration::from_millis(250);
/// Frames are sent at least so often, in looks.
const LOOKS_PER_FRAME: u32 = 4;

/// What requests and the clock share.
pub struct App {
    pub(crate) rules: WriteRules,
    store: Mutex<Store>,
    pub(crate) history: Mutex<History>,
    pub(crate) room: Arc<Semaphore>,
    /// The latest frame as JSON.
    pub(crate) latest: watch::Sender<Arc<str>>,
    /// Where lines go as well.
    pub(crate) forward: Option<Forward>,
    /// The run that is shown again, if this is no live page.
    pub(crate) replayed: Option<Replayed>,
}

/// Where everything is passed on to.
pub struct Forward {
    pub(crate) pusher: Pusher,
    dropped: Counter,
}

impl Forward {
    /// `recorder` is the one that the pusher counts with.
    pub fn new(pusher: Pusher, recorder: &Recorder) -> Self {
        Self { pusher, dropped: recorder.counter(names::PUSH_POINTS_DROPPED) }
    }
}

/// A frame with its alarms and the row it adds to the charts.
#[derive(Serialize)]
pub(crate) struct Shown<'a> {
    #[serde(flatten)]
    frame: &'a Frame,
    alarms: Vec<Alarm>,
    row: Row,
    /// Number of the next task event: who has fewer may ask for them.
    log_end: u64,
}

impl App {
    /// A live page with an empty window.
    pub fn live(rules: WriteRules, limits: Limits, forward: Option<Forward>) -> Self {
        Self::new(rules, Store::new(limits), forward, None)
    }

    /// The page of a finished run.
    pub(crate) fn new(rules: WriteRules, store: Store, forward: Option<Forward>, replayed: Option<Replayed>) -> Self {
        let slots = store.limits.slots;
        Self {
            rules,
            store: Mutex::new(store),
            history: Mutex::new(History::new(slots)),
            room: room(),
            latest: watch::Sender::new("".into()),
            forward,
            replayed,
        }
    }

    /// The store, locked.
    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes frames until dropped: one per second, and at once when an alarm comes or goes.
    pub async fn run_clock(self: Arc<Self>) {
        let mut clock = tokio::time::interval(LOOK);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut alarms = Alarms::default();
        let (mut keys, mut looks, mut last_slot) = (Vec::new(), 0, i64::MIN);
        loop {
            clock.tick().await;
            let now = now_us();
            let mut store = self.store();
            let slot = store.slot(now) - 1;
            let view = View { store: &store, slot, now_us: Some(now) };
            let frame = view.frame();
            let found = alarms.update(view, &frame, self.losses(&frame));
            let log_end = store.log.end();
            let found_keys: Vec<String> = found.iter().map(|alarm| alarm.key.clone()).collect();
            looks += 1;
            if found_keys == keys && looks < LOOKS_PER_FRAME {
                continue;
            }
            if slot != last_slot {
                store.forget_silent(now);
            }
            drop(store);
            (keys, looks) = (found_keys, 0);
            let row = Row::of(&frame);
            if slot != last_slot {
                last_slot = slot;
                self.history().push(row.clone());
            }
            let shown = Shown { frame: &frame, alarms: found, row, log_end };
            let text = serde_json::to_string(&shown).expect("a frame is plain data");
            self.latest.send_replace(text.into());
        }
    }

    /// What was lost on this side so far.
    fn losses(&self, frame: &Frame) -> Losses {
        Losses {
            not_kept: frame.intake.not_kept,
            bad_lines: frame.intake.bad_lines,
            not_forwarded: self.forward.as_ref().map_or(0, |forward| forward.dropped.get()),
        }
    }

    /// The frame of an earlier moment.
    pub(crate) fn frame_at(&self, at_s: f64) -> String {
        let store = self.store();
        let view = View { store: &store, slot: store.slot((at_s * 1e6) as i64 - 1), now_us: None };
        let frame = view.frame();
        let alarms = Alarms::default().update(view, &frame, Losses::default());
        let until = (at_s * 1e6) as i64;
        let log_end =
            store.log.since(0).find(|(_, entry)| entry.at_us >= until).map_or(store.log.end(), |found| found.0);
        let shown = Shown { frame: &frame, alarms, row: Row::of(&frame), log_end };
        serde_json::to_string(&shown).expect("a frame is plain data")
    }
}
