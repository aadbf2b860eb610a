//! Ctrl-C and SIGTERM: the first asks everything to stop in order; a second one ends the testbed at once,
//! which kills its processes.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::failure::Failure;

/// Whether somebody asked to stop.
#[derive(Clone)]
pub struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// Listens from now on.
    pub fn listen() -> io::Result<Self> {
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (sender, receiver) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                sender.send_replace(true);
            }
        });
        Ok(Self(receiver))
    }

    /// Waits, and fails when somebody asks to stop meanwhile.
    pub async fn sleep(&mut self, duration: Duration) -> Result<(), Failure> {
        tokio::select! {
            biased;
            asked = self.0.wait_for(|asked| *asked) => match asked {
                Ok(_) => Err(Failure::Interrupted),
                // nobody listens any more: the runtime is going down
                Err(_) => Err(Failure::Interrupted),
            },
            () = tokio::time::sleep(duration) => Ok(()),
        }
    }
}
