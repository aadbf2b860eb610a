//! The tasks of one endpoint: none outlives its shutdown.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

/// Spawns tasks and waits for all of them at the end.
#[derive(Debug)]
pub(crate) struct Tasks {
    runtime: Handle,
    stop: watch::Sender<bool>,
    /// Cloned into every task; taken away at shutdown, so that the receiver sees the last one end.
    alive: Mutex<Option<mpsc::Sender<()>>>,
    ended: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

impl Tasks {
    pub(crate) fn new(runtime: &Handle) -> Self {
        let (alive, ended) = mpsc::channel(1);
        let (alive, ended) = (Mutex::new(Some(alive)), tokio::sync::Mutex::new(ended));
        Self { runtime: runtime.clone(), stop: watch::Sender::new(false), alive, ended }
    }

    fn token(&self) -> Option<mpsc::Sender<()>> {
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs `future` until it ends or everything stops; after the stop nothing is run.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let mut stop = self.stop.subscribe();
        self.spawn_whole(async move {
            tokio::select! {
                _ = stop.wait_for(|stopped| *stopped) => {}
                () = future => {}
            }
        });
    }

    /// Runs `future` to its own end, which must come when the endpoint is closed.
    pub(crate) fn spawn_whole(&self, future: impl Future<Output = ()> + Send + 'static) {
        if let Some(token) = self.token() {
            self.runtime.spawn(async move {
                let _token = token;
                future.await;
            });
        }
    }

    /// Stops the tasks; spawns no more.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
        self.alive.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Waits for the last task after [`Self::stop`].
    pub(crate) async fn ended(&self) {
        let mut ended = self.ended.lock().await;
        while ended.recv().await.is_some() {}
    }
}
