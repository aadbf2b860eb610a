//! Panels and dashboards as Grafana reads them from files.
//!
//! Panels flow from left to right over the 24 columns of a page. Every panel names its unit, explains itself in
//! its description and has a legend; where a value is bad, thresholds say from when on.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::query::{self, marks};
use shardpay_telemetry::names;

/// Shortest interval of a graph: servers write once a second, not all at the same time.
pub(super) const INTERVAL: &str = "5s";
/// Identifies the data source in dashboards.
pub(super) const DATASOURCE: &str = "shardpay";
/// The newest form of dashboards that Grafana 11 writes.
const SCHEMA_VERSION: u32 = 39;
/// Columns of a page.
const COLUMNS: u64 = 24;

/// Units, by Grafana's names.
pub(super) mod unit {
    pub(in super::super) const PER_SECOND: &str = "cps";
    pub(in super::super) const MICROSECONDS: &str = "µs";
    pub(in super::super) const COUNT: &str = "short";
    pub(in super::super) const BYTES: &str = "bytes";
    pub(in super::super) const BYTES_PER_SECOND: &str = "Bps";
    pub(in super::super) const SHARE: &str = "percentunit";
}

/// How a panel shows its values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    Lines,
    Stacked,
    Number,
    Table,
}

/// One panel.
pub(super) struct Panel {
    title: &'static str,
    description: String,
    look: Look,
    unit: &'static str,
    width: u64,
    targets: Vec<(String, &'static str)>,
    /// From which value on it is orange, and red.
    thresholds: Option<(f64, f64)>,
    /// Whether anything but 0 is bad.
    zero: bool,
}

impl Panel {
    fn new(look: Look, title: &'static str, unit: &'static str, width: u64) -> Self {
        let (thresholds, targets) = (None, Vec::new());
        Self { title, description: String::new(), look, unit, width, targets, thresholds, zero: false }
    }

    /// Lines over time.
    pub(super) fn lines(title: &'static str, unit: &'static str) -> Self {
        Self::new(Look::Lines, title, unit, 8)
    }

    /// Areas over time, one on top of the other.
    pub(super) fn stacked(title: &'static str, unit: &'static str) -> Self {
        Self::new(Look::Stacked, title, unit, 8)
    }

    /// The last value, large.
    pub(super) fn number(title: &'static str, unit: &'static str) -> Self {
        Self::new(Look::Number, title, unit, 4)
    }

    /// Task events, the newest first.
    pub(super) fn events(title: &'static str, of: query::Of) -> Self {
        Self::new(Look::Table, title, "string", COLUMNS)
            .about("What the servers did, newest first.")
            .query(query::events(of), "")
    }

    /// Says what is seen.
    pub(super) fn about(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// Adds a query; `legend` may hold `$tag_committee` and the like.
    pub(super) fn query(mut self, text: String, legend: &'static str) -> Self {
        self.targets.push((text, legend));
        self
    }

    /// Columns it takes.
    pub(super) fn wide(mut self, width: u64) -> Self {
        self.width = width;
        self
    }

    /// Orange from the first value on, red from the second.
    pub(super) fn bad_from(mut self, orange: f64, red: f64) -> Self {
        self.thresholds = Some((orange, red));
        self
    }

    /// Red unless it is 0.
    pub(super) fn bad_unless_zero(mut self) -> Self {
        self.zero = true;
        self
    }

    fn height(&self) -> u64 {
        match self.look {
            Look::Number => 4,
            Look::Lines | Look::Stacked => 8,
            Look::Table => 9,
        }
    }

    fn steps(&self) -> Value {
        match (self.zero, self.thresholds) {
            (true, _) => json!([step("red", None), step("green", Some(0.0)), step("red", Some(1.0))]),
            (false, None) => json!([step("blue", None)]),
            (false, Some((orange, red))) => {
                json!([step("green", None), step("orange", Some(orange)), step("red", Some(red))])
            }
        }
    }

    fn kind(&self) -> &'static str {
        match self.look {
            Look::Lines | Look::Stacked => "timeseries",
            Look::Number => "stat",
            Look::Table => "table",
        }
    }

    fn defaults(&self) -> Value {
        let graph = self.look == Look::Lines || self.look == Look::Stacked;
        let stacked = self.look == Look::Stacked;
        let mut defaults = json!({
            "unit": self.unit,
            "color": { "mode": if graph { "palette-classic" } else { "thresholds" } },
            "thresholds": { "mode": "absolute", "steps": self.steps() },
            "custom": {},
        });
        if graph {
            let limits = self.thresholds.is_some() || self.zero;
            defaults["custom"] = json!({
                "drawStyle": "line",
                "lineWidth": 1,
                "fillOpacity": if stacked { 40 } else { 5 },
                "showPoints": "never",
                "spanNulls": 15_000,
                "stacking": { "mode": if stacked { "normal" } else { "none" }, "group": "A" },
                "thresholdsStyle": { "mode": if limits && !self.zero { "dashed" } else { "off" } },
            });
            if !self.zero {
                defaults["min"] = json!(0);
            }
        }
        defaults
    }

    fn options(&self) -> Value {
        match self.look {
            Look::Lines | Look::Stacked => json!({
                "legend": {
                    "showLegend": true, "displayMode": "table", "placement": "bottom",
                    "calcs": ["mean", "max", "lastNotNull"],
                },
                "tooltip": { "mode": "multi", "sort": "desc" },
            }),
            Look::Number => json!({
                "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": false },
                "colorMode": if self.thresholds.is_some() || self.zero { "background" } else { "value" },
                "graphMode": "area",
                "textMode": "auto",
            }),
            Look::Table => json!({ "showHeader": true, "cellHeight": "sm" }),
        }
    }

    fn json(&self, id: usize, (x, y): (u64, u64)) -> Value {
        let format = if self.look == Look::Table { "table" } else { "time_series" };
        let target = |(index, (query, legend)): (usize, &(String, &'static str))| {
            json!({
                "refId": char::from(b'A' + u8::try_from(index).expect("a panel has few queries")).to_string(),
                "datasource": datasource(),
                "rawQuery": true,
                "query": query,
                "alias": legend,
                "resultFormat": format,
            })
        };
        json!({
            "id": id,
            "type": self.kind(),
            "title": self.title,
            "description": self.description,
            "datasource": datasource(),
            "interval": INTERVAL,
            "gridPos": { "x": x, "y": y, "w": self.width, "h": self.height() },
            "targets": self.targets.iter().enumerate().map(target).collect::<Vec<_>>(),
            "fieldConfig": { "defaults": self.defaults(), "overrides": [] },
            "options": self.options(),
        })
    }
}

fn step(color: &str, value: Option<f64>) -> Value {
    json!({ "color": color, "value": value })
}

fn datasource() -> Value {
    json!({ "type": "influxdb", "uid": DATASOURCE })
}

/// One page.
pub(super) struct Dashboard {
    /// Its name in file, address and links.
    pub(super) name: &'static str,
    title: &'static str,
    description: &'static str,
    variables: Vec<Value>,
    panels: Vec<Panel>,
}

impl Dashboard {
    /// A page without panels.
    pub(super) fn new(name: &'static str, title: &'static str, description: &'static str) -> Self {
        Self { name, title, description, variables: Vec::new(), panels: Vec::new() }
    }

    /// People choose committees.
    pub(super) fn by_committee(mut self) -> Self {
        let query = query::values_of(names::TAG_COMMITTEE, false);
        self.variables.push(variable(query::COMMITTEE, "Committee", query));
        self
    }

    /// People choose nodes of these committees.
    pub(super) fn by_node(mut self) -> Self {
        self.variables.push(variable(query::NODE, "Node", query::values_of(names::TAG_SERVER, true)));
        self
    }

    /// Adds panels.
    pub(super) fn with(mut self, panels: impl IntoIterator<Item = Panel>) -> Self {
        self.panels.extend(panels);
        self
    }

    /// The page as a file.
    pub(super) fn file(&self) -> String {
        let (mut x, mut y, mut row) = (0, 0, 0);
        let mut panels = Vec::new();
        for (index, panel) in self.panels.iter().enumerate() {
            if x + panel.width > COLUMNS {
                (x, y, row) = (0, y + row, 0);
            }
            panels.push(panel.json(index + 1, (x, y)));
            x += panel.width;
            row = row.max(panel.height());
        }
        let page = json!({
            "uid": format!("shardpay-{}", self.name),
            "title": format!("shardpay: {}", self.title),
            "description": self.description,
            "tags": ["shardpay"],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": true,
            "timezone": "browser",
            "graphTooltip": 1,
            "refresh": "5s",
            "time": { "from": "now-15m", "to": "now" },
            "templating": { "list": self.variables },
            "annotations": { "list": [
                annotation("Faults", "red", names::EVENT_FAULT),
                annotation("Epochs", "blue", names::EVENT_EPOCH),
            ] },
            "links": [{
                "type": "dashboards", "title": "shardpay", "tags": ["shardpay"], "asDropdown": true,
                "includeVars": true, "keepTime": true, "icon": "external link",
            }],
            "panels": panels,
        });
        let mut text = serde_json::to_string_pretty(&sorted(page)).expect("a page is plain data");
        text.push('\n');
        text
    }
}

/// Keys by name: whether `serde_json` keeps them as written depends on what else is in a build.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<String, Value> = fields.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            fields.into_iter().collect()
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        plain => plain,
    }
}

fn variable(name: &str, label: &str, query: String) -> Value {
    json!({
        "name": name,
        "label": label,
        "type": "query",
        "datasource": datasource(),
        "query": query,
        "definition": query,
        "refresh": 2,
        "sort": 3,
        "multi": true,
        "includeAll": true,
        "current": { "text": ["All"], "value": ["$__all"] },
        "options": [],
    })
}

fn annotation(name: &str, color: &str, event: &str) -> Value {
    json!({
        "name": name,
        "datasource": datasource(),
        "enable": true,
        "iconColor": color,
        "query": marks(event),
        "textColumn": names::FIELD_TEXT,
        "tagsColumn": names::TAG_SERVER,
    })
}
