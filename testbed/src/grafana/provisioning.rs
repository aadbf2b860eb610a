//! What is no dashboard: the data source, where Grafana finds the pages, and the mapping that lets InfluxDB 2
//! answer InfluxQL.

use std::path::PathBuf;

use super::panel::{DATASOURCE, INTERVAL};

/// The official image of InfluxDB 2.
pub const INFLUXDB_IMAGE: &str = "influxdb:2.7.11";
/// The official image of Grafana.
pub const GRAFANA_IMAGE: &str = "grafana/grafana:11.4.0";
/// The bucket that the servers push to by default, and the database of that name that InfluxQL sees.
pub const DATABASE: &str = "shardpay";

pub(super) fn files() -> Vec<(PathBuf, String)> {
    vec![
        ("provisioning/datasources/shardpay.yaml".into(), datasource()),
        ("provisioning/dashboards/shardpay.yaml".into(), provider()),
        ("influxdb/dbrp.sh".into(), mapping()),
    ]
}

/// Grafana replaces the variables by its own environment. InfluxDB 2 takes its token in the header.
fn datasource() -> String {
    format!(
        "# Written by 'testbed grafana'. Grafana's environment has SHARDPAY_INFLUXDB_URL and SHARDPAY_INFLUXDB_TOKEN.
apiVersion: 1
datasources:
  - name: shardpay
    uid: {DATASOURCE}
    type: influxdb
    access: proxy
    url: ${{SHARDPAY_INFLUXDB_URL}}
    isDefault: true
    editable: false
    jsonData:
      version: InfluxQL
      dbName: {DATABASE}
      httpMode: POST
      timeInterval: {INTERVAL}
      httpHeaderName1: Authorization
    secureJsonData:
      httpHeaderValue1: Token ${{SHARDPAY_INFLUXDB_TOKEN}}
"
    )
}

fn provider() -> String {
    "# Written by 'testbed grafana'.
apiVersion: 1
providers:
  - name: shardpay
    folder: shardpay
    type: file
    disableDeletion: true
    allowUiUpdates: false
    updateIntervalSeconds: 30
    options:
      path: /var/lib/grafana/dashboards/shardpay
"
    .to_owned()
}

/// Runs once, in `/docker-entrypoint-initdb.d` of the official image, which sets the variables.
fn mapping() -> String {
    format!(
        "#!/bin/sh
# Written by 'testbed grafana'. Maps the database that InfluxQL names to the bucket that the servers write to.
set -eu
if influx v1 dbrp list --org \"$DOCKER_INFLUXDB_INIT_ORG\" --db {DATABASE} | grep -q {DATABASE}; then
    exit 0
fi
influx v1 dbrp create --db {DATABASE} --rp autogen --default \\
    --org \"$DOCKER_INFLUXDB_INIT_ORG\" --bucket-id \"$DOCKER_INFLUXDB_INIT_BUCKET_ID\"
"
    )
}
