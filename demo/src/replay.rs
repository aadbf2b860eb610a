//! A finished run, read from its directory.
//!
//! All `series.lp` files are read into one store whose slots are as long as the run needs: a second, or more
//! for runs longer than `SLOTS_MAX` seconds. The charts' rows are computed once; a moment's frame is
//! computed when it is asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use serde::Serialize;
use shardpay_run::RunDir;

use crate::app::App;
use crate::frame::View;
use crate::history::Row;
use crate::ingest::WriteRules;
use crate::lines::{Batch, Lines};
use crate::store::{Limits, Store};

/// Slots of a run at most.
const SLOTS_MAX: i64 = 1_800;

/// What the page is told about the run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Replayed {
    /// The directory's name.
    pub(crate) name: String,
    /// First and last moment, seconds since 1970.
    pub(crate) from: f64,
    pub(crate) to: f64,
    /// Seconds per slot.
    pub(crate) slot_s: f64,
    /// The summary as the run wrote it, if it got that far.
    pub(crate) summary: Option<serde_json::Value>,
}

/// Reads a run directory.
pub fn load(dir: &Path, bytes_max: usize) -> anyhow::Result<Arc<App>> {
    let files = series_files(dir)?;
    if files.is_empty() {
        bail!("{}: no series.lp in it; is it a run directory?", dir.display());
    }
    let mut bodies = Vec::new();
    for path in files {
        bodies.push(std::fs::read(&path).with_context(|| path.display().to_string())?);
    }
    let (first, last) = span(&bodies).context("series.lp files without a point")?;
    let slot_us = ((last - first) / SLOTS_MAX / 1_000_000 + 1) * 1_000_000;
    let slots = usize::try_from((last - first) / slot_us + 2).context("the run's length")?;
    let mut store = Store::new(Limits { slot_us, slots, exact_slots: slots, bytes_max, events_max: 1 << 20 });
    for body in &bodies {
        let (mut lines, mut batch) = (Lines::new(body), Batch::default());
        while lines.fill(&mut batch) {
            store.apply(&batch, 1, None);
        }
    }
    drop(bodies);
    store.log.sort();
    let (from, to) = (store.slot(first), store.slot(last));
    let rows: Vec<Row> = (from..=to).map(|slot| Row::of(&View { store: &store, slot, now_us: None }.frame())).collect();
    let run = RunDir::new(dir);
    let summary = std::fs::read(run.summary()).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let name = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let replayed = Replayed {
        name: name.file_name().map_or_else(|| name.display().to_string(), |name| name.to_string_lossy().into_owned()),
        from: (from * slot_us) as f64 / 1e6,
        to: ((to + 1) * slot_us) as f64 / 1e6,
        slot_s: slot_us as f64 / 1e6,
        summary,
    };
    let rules = WriteRules { token: None, org: String::new(), bucket: String::new(), body_bytes_max: 0 };
    let app = App::new(rules, store, None, Some(replayed));
    rows.into_iter().for_each(|row| app.history().push(row));
    Ok(Arc::new(app))
}

/// All `series.lp` below a directory, three levels deep: nodes, load generators, signaler, services.
fn series_files(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![(dir.to_owned(), 0)];
    while let Some((dir, depth)) = open.pop() {
        let entries = std::fs::read_dir(&dir).with_context(|| dir.display().to_string())?;
        for entry in entries {
            let entry = entry.with_context(|| dir.display().to_string())?;
            let kind = entry.file_type().with_context(|| entry.path().display().to_string())?;
            if kind.is_dir() && depth < 3 && entry.file_name() != "store" {
                open.push((entry.path(), depth + 1));
            } else if kind.is_file() && entry.file_name() == "series.lp" {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// First and last time of all points, in microseconds.
fn span(bodies: &[Vec<u8>]) -> Option<(i64, i64)> {
    let mut span: Option<(i64, i64)> = None;
    for body in bodies {
        let (mut lines, mut batch) = (Lines::new(body), Batch::default());
        while lines.fill(&mut batch) {
            for us in batch.points.iter().filter_map(|point| point.time).map(|ns| ns / 1_000) {
                let (first, last) = span.unwrap_or((us, us));
                span = Some((us.min(first), us.max(last)));
            }
        }
    }
    span
}
