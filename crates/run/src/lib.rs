//! Floor 5 of shardpay: experiment specs and run directories.
//!
//! Guarantees: what one program writes here another reads back: the spec, the facts of the run and its
//! host, loadgen's acknowledgements and latencies, the summary. Whole files are written under a temporary
//! name and renamed; logs that grow are read up to the last whole record. `docs/RUNS.md` describes them.

mod acks;
mod dir;
mod host;
mod knee;
mod ladder;
mod latency;
mod manifest;
mod mser;
mod result;
mod shortfall;
mod spec;
mod summary;
mod sweep;
mod warmup;

pub use acks::{Ack, AckKind, AckLog, AckWriter, read_acks};
pub use dir::{RunDir, RunError, node_name, read_json, write_json, write_whole};
pub use host::{GitState, HostFacts, RunRecord};
pub use knee::{
    KneeEnd, KneeMeasurement, KneeObjective, KneeProbe, KneeRecord, KneeResult, Limit, LimitKind, MeasurementOutcome,
    MeasurementStage, QueueUse, StageUse, ThreadUse,
};
pub use ladder::{Reached, Step, StepObjective, ladder, reached};
pub use latency::{
    LatencyInterval, LatencyKind, LatencyTag, LatencyWriter, add_latencies, latencies_of_run, new_latencies,
    read_latencies,
};
pub use manifest::{FileDifference, Manifest, file_digest};
pub use mser::{WarmUp, mser5};
pub use result::{LoadResult, SecondCounts};
pub use shortfall::{Lateness, MACHINE_FULL, SEND_LAG_P99_MAX_MS, SHORTFALL_SHARE, Shortfall};
pub use spec::{
    Axis, BackendKind, Byzantine, Cross, Distribution, Durability, Fault, FaultAction, FaultDetail, KneeOptions,
    Limits, Link, LinkOptions, Load, Network, NodeOptions, NodeSelector, OverBudget, PlannedFault, Rate, Regions,
    Repeat, Spec, SpecError, StoresKept, SweepOptions, SweepPoint, SweepSpec, TwistName, Unsupported, WarmupRule,
    fault_table,
};
pub use summary::{Figures, Flow, LatencyMs, MachineUse, Phases, Summary};
pub use sweep::{RunState, SweepAxis, SweepPointRecord, SweepRecord, SweepRun};
pub use warmup::WarmUpCut;
