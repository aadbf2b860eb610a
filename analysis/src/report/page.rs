//! A page: plotly, the figures' data, and the text around them. It loads nothing.
//!
//! Guarantees: under each figure stands what was run, on which machine, how to repeat it, which payments have no latency,
//! and which void runs would have belonged to it; the machine stands in the figure itself, too.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::environment;
use super::figure::Figure;
use crate::runs::{Run, thousands};

const STYLE: &str = include_str!("../../assets/report.css");
const SCRIPT: &str = include_str!("../../assets/report.js");

/// Text as HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A page of figures, in the order in which they are added.
pub(crate) struct Page {
    title: String,
    head: String,
    body: String,
    figures: Vec<Figure>,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Written {
    /// The page.
    pub page: PathBuf,
    /// The figures on it, by id.
    pub figures: Vec<String>,
}

impl Page {
    pub(crate) fn new(title: &str, runs: &[&Run]) -> Self {
        let machines: Vec<String> = environment::machines(runs)
            .iter()
            .map(|machine| format!("<p class=\"machine\">{}</p>", escape(machine)))
            .collect();
        Self { title: title.to_owned(), head: machines.concat(), body: String::new(), figures: Vec::new() }
    }

    /// A paragraph under the heading.
    pub(crate) fn intro(&mut self, text: &str) {
        let _ = write!(self.head, "<p>{}</p>", escape(text));
    }

    /// A section of HTML.
    pub(crate) fn section(&mut self, title: &str, html: &str) {
        let _ = writeln!(self.body, "<section><h2>{}</h2>{html}</section>", escape(title));
    }

    /// A figure with everything that belongs under it. Those that have nothing to show are listed by [`Page::left_out`].
    pub(crate) fn figure(&mut self, figure: Figure) {
        let (id, title) = (&figure.id, escape(&figure.title));
        let _ = writeln!(
            self.body,
            "<section class=\"figure\" id=\"{id}\"><h2>{title}</h2><div class=\"plot\" id=\"plot-{id}\" role=\"img\" \
             aria-label=\"{title}\" style=\"height:{}px\"></div><p class=\"caption\">{}</p>{}</section>",
            figure.height,
            escape(&figure.caption),
            under(&figure)
        );
        self.figures.push(figure);
    }

    /// Names figures without data, and void runs.
    pub(crate) fn left_out(&mut self, figures: &[Figure], void: &[Run]) {
        let mut list = String::new();
        for figure in figures {
            let _ = write!(list, "<li>{}: {}</li>", escape(&figure.title), figure.missing.unwrap_or_default());
        }
        for run in void {
            let _ = write!(list, "<li>The run {} is void: {}</li>", code(&run.dir), escape(&why(run)));
        }
        if !list.is_empty() {
            self.section("Not on this page", &format!("<ul>{list}</ul>"));
        }
    }

    /// Writes the page and a CSV file per figure.
    pub(crate) fn write(&self, out: &Path, name: &str) -> anyhow::Result<Written> {
        fs::create_dir_all(out).with_context(|| out.display().to_string())?;
        for figure in &self.figures {
            figure.write_csv(&out.join(format!("{}.csv", figure.id)))?;
        }
        let page = out.join(name);
        shardpay_run::write_whole(&page, self.html().as_bytes())?;
        Ok(Written { page, figures: self.figures.iter().map(|figure| figure.id.clone()).collect() })
    }

    fn html(&self) -> String {
        let title = escape(&self.title);
        let data: Vec<Value> = self.figures.iter().map(data).collect();
        // no text of ours may end the script early
        let data = Value::from(data).to_string().replace("</", "<\\/");
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta name=\"color-scheme\" content=\"light dark\"><link rel=\"icon\" href=\"data:,\">\
             <title>{title}</title><style>{STYLE}</style></head><body>\n<header><h1>{title}</h1>{}</header>\n<main>{}</main>\n\
             <script>{}</script>\n<script id=\"figures\" type=\"application/json\">{data}</script>\n<script>{SCRIPT}</script>\
             </body></html>\n",
            self.head,
            self.body,
            shardpay_charts::PLOTLY.as_str()
        )
    }
}

fn why(run: &Run) -> String {
    run.void_because().unwrap_or_default()
}

fn code(path: &Path) -> String {
    format!("<code>{}</code>", escape(&path.display().to_string()))
}

/// The figure as the script draws it; the machine stands at its lower edge.
fn data(figure: &Figure) -> Value {
    let mut layout = figure.layout.clone();
    let of_runs = || environment::note(&figure.runs.iter().collect::<Vec<_>>());
    let note = figure.machine.clone().unwrap_or_else(of_runs);
    layout["title"] = json!({ "text": note, "font": { "size": 11 }, "x": 1, "xref": "paper", "xanchor": "right", "y": 0,
        "yref": "container", "yanchor": "bottom", "pad": { "b": 6 } });
    json!({ "id": figure.id, "height": figure.height, "traces": figure.traces, "layout": layout })
}

/// What was run, what has no latency, what is void, and how to repeat it.
fn under(figure: &Figure) -> String {
    let runs: Vec<&Run> = figure.runs.iter().collect();
    let mut text = format!("<p class=\"caption\">{}", escape(&environment::what_was_run(&runs)));
    if figure.shows_latency {
        let sum = |of: fn(&Run) -> u64| thousands(runs.iter().map(|run| of(run)).sum::<u64>() as f64);
        let _ = write!(
            text,
            " Without a latency, and in no curve: {} answers of refusal or Busy, {} payments not sent, {} open at the end, \
             beside {} certified in the measured parts.",
            sum(Run::refused),
            sum(|run| run.summary.skipped),
            sum(|run| run.summary.unresolved),
            sum(|run| run.summary.total.all.certified)
        );
    }
    for run in &figure.void {
        let _ = write!(
            text,
            " Void and not drawn: {} ({}: {}).",
            escape(&crate::runs::label(run.spec())),
            code(&run.dir),
            escape(&why(run))
        );
    }
    let _ = write!(
        text,
        " <span class=\"files\">Data: <code>{0}.csv</code>. <button type=\"button\" data-svg=\"{0}\">SVG</button></span></p>",
        figure.id
    );
    if runs.is_empty() {
        return text;
    }
    let _ = write!(
        text,
        "<details><summary>To repeat ({} run{})</summary><pre>{}</pre></details>",
        runs.len(),
        if runs.len() == 1 { "" } else { "s" },
        environment::commands(&runs)
    );
    text
}
