//! The service's side of the ledger: certified blocks come in, signed transactions go out.
//!
//! `port` is the seam, `network` its real implementation, `facts` what blocks say, `apply` what that
//! changes in the store, `follower` the task that does it, `view` what requests read.

pub(crate) mod apply;
pub mod facts;
mod follower;
mod network;
pub mod port;
mod track;
mod view;

pub(crate) use follower::totals;
pub use follower::{Follower, load_view};
pub use network::Network;
pub use port::{Ledger, LedgerError, LedgerEvent};
pub use track::{TrackError, track};
pub use view::{KnownAccount, Tip, View};
