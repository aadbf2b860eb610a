//! The node's own threads, and what happens when one dies.
//!
//! Guarantees: a thread that panics or returns a [`Halt`] is noticed at once by whoever waits on the
//! [`Watch`]; the first cause is kept, later ones are consequences.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use tokio::sync::Notify;

use crate::error::{Halt, StartError};

/// Where threads report that they cannot go on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    cause: OnceLock<Halt>,
    notify: Notify,
}

impl Watch {
    /// Keeps the first cause.
    pub(crate) fn report(&self, cause: Halt) {
        tracing::error!(%cause, "the node halts");
        if self.shared.cause.set(cause).is_ok() {
            self.shared.notify.notify_waiters();
        }
    }

    /// The cause, if a thread has died.
    pub(crate) fn cause(&self) -> Option<Halt> {
        self.shared.cause.get().cloned()
    }

    /// Waits until a thread dies.
    pub(crate) async fn wait(&self) -> Halt {
        loop {
            let notified = self.shared.notify.notified();
            if let Some(cause) = self.cause() {
                return cause;
            }
            notified.await;
        }
    }
}

/// Threads that were started, in order.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    started: Vec<JoinHandle<()>>,
    watch: Watch,
}

impl Threads {
    pub(crate) fn new(watch: Watch) -> Self {
        Self { started: Vec::new(), watch }
    }

    /// Starts a thread. What it returns or panics with goes to the watch.
    pub(crate) fn spawn(
        &mut self,
        name: &'static str,
        body: impl FnOnce() -> Result<(), Halt> + Send + 'static,
    ) -> Result<(), StartError> {
        let watch = self.watch.clone();
        let guarded = move || match catch_unwind(AssertUnwindSafe(body)) {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => watch.report(cause),
            Err(panic) => watch.report(Halt::Panic { thread: name, message: text_of(panic.as_ref()) }),
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(guarded);
        self.started.push(thread.map_err(|source| StartError::Thread { name, source })?);
        Ok(())
    }

    /// Waits for all of them.
    pub(crate) fn join(self) {
        for thread in self.started {
            // its panic was reported to the watch
            let _ = thread.join();
        }
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cause_is_kept() {
        let watch = Watch::default();
        let mut threads = Threads::new(watch.clone());
        threads.spawn("fine", || Ok(())).expect("starts");
        threads.spawn("broken", || panic!("on {}", "purpose")).expect("starts");
        threads.join();
        let panicked = Halt::Panic { thread: "broken", message: "on purpose".into() };
        assert_eq!(watch.cause(), Some(panicked.clone()));
        watch.report(Halt::Store("later".into()));
        assert_eq!(watch.cause(), Some(panicked));
    }
}
