//! What people see while a run goes on: one line that is painted over on a terminal, a line now and then
//! when the output is a file or a pipe.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::load::{LoadLine, LoadPhase};

/// Between two lines where lines stay.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// Committees shown one by one; more are left to the table at the end.
const COMMITTEES_SHOWN: usize = 6;

/// Shows progress on standard error, so that standard output holds results only.
pub struct Live {
    bar: Option<ProgressBar>,
    shown: Option<(LoadPhase, Instant)>,
}

impl Live {
    /// One line on a terminal, lines elsewhere.
    pub fn on_stderr() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}").expect("a valid template");
            let bar = ProgressBar::new_spinner().with_style(style);
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, shown: None }
    }

    /// Something that happened and stays to be read.
    pub fn note(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// What is being waited for; shown on a terminal only.
    pub fn waiting(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        }
    }

    /// How far the load is.
    pub fn load(&mut self, line: &LoadLine) {
        let text = describe(line);
        if let Some(bar) = &self.bar {
            bar.set_message(text);
            return;
        }
        let due = self.shown.is_none_or(|(phase, at)| phase != line.phase || at.elapsed() >= PLAIN_EVERY);
        if due {
            self.shown = Some((line.phase, Instant::now()));
            eprintln!("{text}");
        }
    }

    /// Takes the line away.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A progress line for people.
pub fn describe(line: &LoadLine) -> String {
    let word = line.phase.word();
    match line.phase {
        LoadPhase::Fund if line.total > 0 => format!("{word}: {} of {}", line.done, line.total),
        LoadPhase::Fund | LoadPhase::Sign | LoadPhase::Done => word.to_owned(),
        LoadPhase::Drain => format!("{word}: {} in flight", line.in_flight),
        LoadPhase::Probe | LoadPhase::Load => {
            let offered = if line.seconds > 0.0 { line.offered as f64 / line.seconds } else { 0.0 };
            let mut text = format!(
                "{word} {:3.0} s: offered {offered:.0}/s, certified {:.0}/s, p50 {}, p99 {}",
                line.seconds,
                line.certified_per_second,
                ms(line.p50_ms),
                ms(line.p99_ms)
            );
            if line.skipped > 0 {
                text.push_str(&format!(", {} skipped", line.skipped));
            }
            if (2..=COMMITTEES_SHOWN).contains(&line.committees.len()) {
                let each: Vec<String> = line.committees.iter().map(committee).collect();
                text.push_str(&format!(" | {}", each.join(" | ")));
            }
            text
        }
    }
}

fn committee(line: &crate::load::CommitteeLine) -> String {
    format!("{}: {}/s {} {}", line.committee, line.certified, ms(line.p50_ms), ms(line.p99_ms))
}

fn ms(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.0} ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(json: &str) -> LoadLine {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn lines_are_for_people() {
        let text = |json| describe(&line(json));
        assert_eq!(text(r#"{"phase":"fund","done":10,"total":20}"#), "funding accounts: 10 of 20");
        assert_eq!(text(r#"{"phase":"drain","in_flight":7}"#), "draining: 7 in flight");
        let load = r#"{"phase":"load","seconds":4,"offered":8000,"certified_per_second":1990.4,"p50_ms":41.2,
            "p99_ms":99.7,"committees":[{"committee":0,"certified":990,"p50_ms":40,"p99_ms":90},
            {"committee":1,"certified":1000,"p50_ms":null,"p99_ms":null}]}"#;
        assert_eq!(
            text(load),
            "load   4 s: offered 2000/s, certified 1990/s, p50 41 ms, p99 100 ms | 0: 990/s 40 ms 90 ms | 1: 1000/s - -"
        );
    }
}
