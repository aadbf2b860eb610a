//! Floor 5 of shardpay: what a system would do on machines that are not here.
//!
//! [`calibrate()`] measures on this machine what each action of a node costs. [`World`] runs the real replicas and
//! ledgers in virtual time and charges every action to the processors of its node; good for some hundred nodes.
//! [`extrapolate`] is a closed queueing model of the same costs for more. What is assumed stands in `docs/MODEL.md`.
//!
//! Guarantees: a prediction is a function of its [`Setup`] and [`Costs`] alone (the clock of the wall enters only the
//! calibration's [`Probe`]); no constant is fitted to the runs it is held against.

mod calibrate;
mod costs;
mod extrapolate;
mod links;
mod machines;
mod queueing;
mod setup;
mod world;

pub use calibrate::{CalibrateError, calibrate};
pub use costs::{Costs, CostsError, Curve, Linear};
pub use extrapolate::{Extrapolation, extrapolate};
pub use links::Links;
pub use machines::{KINDS, Kind, Work};
pub use queueing::{erlang_c, wait_mg1, wait_mgc};
pub use setup::{Cores, Load, Prediction, Setup};
pub use world::{Probe, World};
