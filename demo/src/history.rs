//! The charts' past: a row per slot.

use std::collections::VecDeque;

use serde::Serialize;

use crate::frame::Frame;

/// What charts over time need of one slot.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) t: f64,
    pub(crate) offered: Option<f64>,
    pub(crate) certified: f64,
    /// Median and 99th percentile in ms within a committee, the same between committees.
    pub(crate) latency: [Option<f64>; 4],
    pub(crate) up: usize,
    pub(crate) in_flight: Option<f64>,
    /// Per committee: payments/s certified, cores, messages that wait for it.
    pub(crate) committees: Vec<(u32, [f64; 3])>,
    /// Per operation of the services: per second.
    pub(crate) operations: Vec<f64>,
}

impl Row {
    pub(crate) fn of(frame: &Frame) -> Self {
        let overview = &frame.overview;
        let (intra, cross) = (overview.intra_ms.unzip(), overview.cross_ms.unzip());
        let committee = |committee: &crate::frame::Committee| {
            (committee.id, [round(committee.certified), round(committee.cores * 100.0) / 100.0, committee.inbox])
        };
        Self {
            t: frame.t,
            offered: overview.offered.map(round),
            certified: round(overview.certified),
            latency: [intra.0, intra.1, cross.0, cross.1],
            up: overview.nodes_up,
            in_flight: overview.in_flight_payments,
            committees: frame.committees.iter().map(committee).collect(),
            operations: frame.operations.iter().map(|operation| operation.per_second).collect(),
        }
    }
}

/// One digit behind the point is enough for a chart.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Rows of the window.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) rows: VecDeque<Row>,
    max: usize,
}

impl History {
    pub(crate) fn new(max: usize) -> Self {
        Self { rows: VecDeque::new(), max: max.max(1) }
    }

    pub(crate) fn push(&mut self, row: Row) {
        if self.rows.len() >= self.max {
            self.rows.pop_front();
        }
        self.rows.push_back(row);
    }
}
