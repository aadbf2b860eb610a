//! The primary metrics by which runs are compared.

use shardpay_run::Summary;

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// A figure of a run.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name in tables and files.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Which way is better.
    pub better: Better,
    /// Its value in a summary.
    pub of: fn(&Summary) -> f64,
}

/// What is stored at the end holds the warm-up and the accounts' first coins, too: the same on both sides.
fn per_payment(summary: &Summary, total: f64) -> f64 {
    let certified = summary.total.all.certified as f64;
    if certified > 0.0 { total / certified } else { f64::NAN }
}

/// The metrics, at most eight: with more, the correction for many tests would hide what is there.
pub const PRIMARY: [Metric; 7] = [
    Metric { name: "certified", unit: "payments/s", better: Better::Higher, of: |s| s.total.all.per_second },
    Metric { name: "latency p50", unit: "ms", better: Better::Lower, of: |s| s.total.all.latency_ms.p50 },
    Metric { name: "latency p99", unit: "ms", better: Better::Lower, of: |s| s.total.all.latency_ms.p99 },
    Metric { name: "latency p99.9", unit: "ms", better: Better::Lower, of: |s| s.total.all.latency_ms.p999 },
    Metric { name: "CPU", unit: "µs/payment", better: Better::Lower, of: |s| s.cpu_us_per_payment },
    Metric {
        name: "disk",
        unit: "bytes/payment",
        better: Better::Lower,
        of: |s| per_payment(s, s.machine.store_bytes as f64),
    },
    Metric {
        name: "memory of a node",
        unit: "MB",
        better: Better::Lower,
        of: |s| s.machine.node_memory_bytes_max as f64 / 1e6,
    },
];
