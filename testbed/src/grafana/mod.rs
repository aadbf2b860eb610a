//! Grafana over InfluxDB 2: data source and dashboards as provisioning files.
//!
//! The files under `testbed/grafana/` are what [`files`] gives (a test compares them), and all names of
//! measurements, tags and fields in them are the constants of `shardpay_telemetry`, so they cannot drift from
//! what the servers write. `docs/GRAFANA.md` says how to use them.

mod dashboards;
mod panel;
mod provisioning;
mod query;

use std::path::{Path, PathBuf};

use shardpay_run::{RunError, write_whole};

pub use provisioning::{DATABASE, GRAFANA_IMAGE, INFLUXDB_IMAGE};

/// All files, by their path below the directory that Grafana and InfluxDB are given.
pub fn files() -> Vec<(PathBuf, String)> {
    let mut files = provisioning::files();
    let page = |page: &panel::Dashboard| (Path::new("dashboards").join(format!("{}.json", page.name)), page.file());
    files.extend(dashboards::all().iter().map(page));
    files
}

/// Writes all files below `dir`, over those that are there.
pub fn write(dir: &Path) -> Result<(), RunError> {
    for (path, text) in files() {
        write_whole(&dir.join(path), text.as_bytes())?;
    }
    Ok(())
}
