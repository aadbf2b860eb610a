//! The page has data, and says what was only thought out.

use shardpay_model::{Cores, Load, Setup, World, extrapolate};

use super::*;
use crate::model::beyond;

fn report() -> Report {
    let costs = Costs::round_numbers();
    let setup = Setup {
        load: Load::Closed(200),
        accounts: 200,
        warmup: std::time::Duration::from_millis(200),
        measured: std::time::Duration::from_millis(300),
        ..Setup::saturated(1, 4, Cores::Each(2))
    };
    let full = World::run(&setup, &costs);
    let simulated = vec![Simulated { half: full.clone(), closed: extrapolate(&setup, &costs), full, setup }];
    let left_out = vec![("a <ramp>".to_owned(), "its rate changes")];
    Report { beyond: beyond(&costs), costs, compared: Vec::new(), left_out, simulated }
}

#[test]
fn the_page_opens_with_data_and_names_what_is_extrapolated() {
    let dir = tempfile::tempdir().expect("temp dir");
    let report = report();
    let written = write(&report, dir.path()).expect("written");
    assert_eq!(written.figures, ["model-committees", "model-extrapolated"]);
    let page = std::fs::read_to_string(&written.page).expect("a page");
    assert!(page.matches("EXTRAPOLATION").count() >= 4, "label, caption, figure and table");
    assert!(page.contains("No runs were given") && page.contains("a &lt;ramp&gt;: its rate changes"));
    // plotly.min.js has all kinds of words
    let after_script =
        |part: &'_ str| part.split_once("</script>").map_or(part.to_owned(), |(_, rest)| rest.to_owned());
    let shown: String = page.split("<script").map(after_script).collect();
    assert!(!shown.contains("NaN"), "{shown}");
    assert!(!shown.contains("To repeat (0 runs)"), "{shown}");
    let csv = std::fs::read_to_string(dir.path().join("model-extrapolated.csv")).expect("data");
    assert_eq!(csv.lines().count(), 1 + 3 * 5 * 6, "three kinds of links, five sizes, six numbers of committees");
    let rate = report.simulated[0].full.per_second;
    let csv = std::fs::read_to_string(dir.path().join("model-committees.csv")).expect("data");
    assert!(rate > 100.0 && csv.contains(&rate.to_string()), "{csv}");
}

#[test]
fn errors_have_their_sign() {
    assert_eq!((error(120.0, 100.0), error(75.0, 100.0)), ("+20 %".to_owned(), "-25 %".to_owned()));
}
