//! The page: plotly, the figures' data, and the text around them. It loads nothing.

use std::fmt::Write as _;

use serde_json::json;

use super::figure::Figure;
use crate::runs::{Point, Run};
use crate::stats::median;

const STYLE: &str = include_str!("../../assets/report.css");
const SCRIPT: &str = include_str!("../../assets/report.js");

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

pub(super) fn html(points: &[Point], void: &[Run], drawn: &[Figure], left_out: &[Figure]) -> String {
    let mut page = String::new();
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>shardpay: report</title><style>{STYLE}</style></head><body>\n<header><h1>Report</h1>"
    );
    machine(&mut page, points);
    page.push_str("</header>\n<main>");
    runs_table(&mut page, points);
    for figure in drawn {
        let _ = writeln!(
            page,
            "<section id=\"{0}\"><h2>{1}</h2><div class=\"plot\" id=\"plot-{0}\" role=\"img\" aria-label=\"{1}\"></div>\
             <p class=\"caption\">{2} <span class=\"files\">Data: <code>{0}.csv</code>. \
             <button type=\"button\" data-svg=\"{0}\">SVG</button></span></p></section>",
            figure.id,
            escape(figure.title),
            escape(&figure.caption)
        );
    }
    if !left_out.is_empty() || !void.is_empty() {
        page.push_str("<section><h2>Not on this page</h2><ul>");
        for figure in left_out {
            let _ = write!(page, "<li>{}: {}</li>", escape(figure.title), figure.missing.unwrap_or_default());
        }
        for run in void {
            let why = run.void_because().unwrap_or_default();
            let _ =
                write!(page, "<li>The run {} is void: {}</li>", escape(&run.dir.display().to_string()), escape(&why));
        }
        page.push_str("</ul></section>\n");
    }
    repeat(&mut page, points);
    page.push_str("</main>\n");
    let figures: Vec<_> = drawn
        .iter()
        .map(|figure| json!({ "id": figure.id, "traces": figure.traces, "layout": figure.layout }))
        .collect();
    // no text of ours may end the script early
    let data = serde_json::Value::from(figures).to_string().replace("</", "<\\/");
    let _ = writeln!(
        page,
        "<script>{}</script>\n<script id=\"figures\" type=\"application/json\">{data}</script>\n<script>{SCRIPT}</script>\
         </body></html>",
        shardpay_charts::PLOTLY.as_str()
    );
    page
}

/// Each machine and commit once.
fn machine(page: &mut String, points: &[Point]) {
    let mut seen: Vec<String> = Vec::new();
    for run in points.iter().flat_map(|point| &point.runs) {
        let (host, git) = (&run.record.host, &run.record.git);
        let modified = if git.modified { ", with uncommitted changes" } else { "" };
        let text = format!(
            "{} cores of {}, {:.0} GiB, {}, {}; commit {}{modified}",
            host.cores,
            host.cpu_model,
            host.memory_bytes as f64 / (1u64 << 30) as f64,
            host.kernel,
            host.file_system,
            git.commit.get(..10).unwrap_or(&git.commit)
        );
        if !seen.contains(&text) {
            seen.push(text);
        }
    }
    for text in seen {
        let _ = write!(page, "<p class=\"machine\">{}</p>", escape(&text));
    }
}

fn runs_table(page: &mut String, points: &[Point]) {
    page.push_str(
        "<section><h2>Runs</h2><div class=\"wide\"><table><thead><tr><th>point<th>repeats<th>certified/s<th>least \
         to most<th>p50 ms<th>p99 ms<th>p99.9 ms<th>CPU µs/payment<th>refused<th>not sent<th>open at the end<th>verdict\
         </tr></thead><tbody>",
    );
    for point in points {
        let rate = point.figures(|summary| summary.total.all.per_second);
        let (least, most) =
            rate.iter().fold((f64::MAX, 0.0_f64), |(low, high), rate| (low.min(*rate), high.max(*rate)));
        let middle = |of: fn(&shardpay_run::Summary) -> f64| median(&point.figures(of));
        let refused = |summary: &shardpay_run::Summary| summary.refusals.values().sum::<u64>() as f64;
        let _ = write!(
            page,
            "<tr><td>{}<td>{}<td>{:.0}<td>{least:.0} – {most:.0}<td>{:.1}<td>{:.1}<td>{:.1}<td>{:.1}<td>{:.0}<td>{:.0}\
             <td>{:.0}<td>PASS</tr>",
            escape(&point.label),
            point.runs.len(),
            median(&rate),
            middle(|summary| summary.total.all.latency_ms.p50),
            middle(|summary| summary.total.all.latency_ms.p99),
            middle(|summary| summary.total.all.latency_ms.p999),
            middle(|summary| summary.cpu_us_per_payment),
            point.figures(refused).iter().sum::<f64>(),
            point.figures(|summary| summary.skipped as f64).iter().sum::<f64>(),
            point.figures(|summary| summary.unresolved as f64).iter().sum::<f64>(),
        );
    }
    page.push_str("</tbody></table></div><p class=\"caption\">Medians of the repeats; counts are summed over them.</p></section>\n");
}

fn repeat(page: &mut String, points: &[Point]) {
    page.push_str("<section><h2>To repeat this</h2>");
    for run in points.iter().flat_map(|point| &point.runs) {
        let dir = escape(&run.dir.display().to_string());
        let _ = write!(page, "<pre>./shardpay testbed run {dir}/spec.toml --out NEW_DIR</pre>");
    }
    page.push_str("</section>");
}
