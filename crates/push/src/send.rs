//! One write over HTTP, and what its answer means.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::{Client, StatusCode, header};

use crate::target::{Precision, Resolved};

/// Longest time that an endpoint may ask us to wait.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// How much of an endpoint's explanation is logged.
const REASON_CHARS_MAX: usize = 300;

/// What became of a write.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Taken.
    Taken,
    /// Not now: try the same again, no sooner than that.
    Later { wait: Option<Duration>, why: String },
    /// Too much at once: try halves.
    TooLarge,
    /// Never: the endpoint calls it malformed.
    Refused { why: String },
}

/// Writes `lines`, which are whole lines of line protocol with nanosecond timestamps.
pub(crate) async fn write(client: &Client, target: &Resolved, lines: &[u8]) -> Sent {
    let body = match target.precision {
        Precision::Nanoseconds => gzip(lines),
        other => gzip(&cut_timestamps(lines, other.digits_cut())),
    };
    let mut request = client
        .post(target.url.clone())
        .header(header::CONTENT_TYPE, "text/plain; charset=utf-8")
        .header(header::CONTENT_ENCODING, "gzip");
    if let Some(authorization) = &target.authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    match request.body(body).send().await {
        Ok(response) => answered(response).await,
        Err(error) => Sent::Later { wait: None, why: describe(&error) },
    }
}

async fn answered(response: reqwest::Response) -> Sent {
    let status = response.status();
    if status.is_success() {
        return Sent::Taken;
    }
    let wait = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    let wait = wait.map(|seconds: u64| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    let said: String = response.text().await.unwrap_or_default().chars().take(REASON_CHARS_MAX).collect();
    let why = format!("{status}: {}", said.trim());
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => Sent::TooLarge,
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Sent::Refused { why },
        // a token or bucket may be made any time; everything else is the server's own trouble
        _ => Sent::Later { wait, why },
    }
}

/// The error with its causes; never with the URL's query.
fn describe(error: &reqwest::Error) -> String {
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { "no connection".to_owned() };
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

fn gzip(lines: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(lines.len() / 6 + 64), Compression::fast());
    encoder.write_all(lines).and_then(|()| encoder.finish()).expect("writing to memory cannot fail")
}

/// Takes the last `digits` off each line's timestamp, the digits after its last space.
fn cut_timestamps(lines: &[u8], digits: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.len());
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        let whole = line.strip_suffix(b"\n").unwrap_or(line);
        let stamp = whole.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let kept = whole.len() - if stamp > digits { digits } else { 0 };
        out.extend_from_slice(&whole[..kept]);
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_cut_to_the_unit() {
        let lines = b"a,b=1 c=12i 1700000000123456789\nevents text=\"at 12\" 1700000000999999999\n";
        let cut = cut_timestamps(lines, 6);
        assert_eq!(
            String::from_utf8(cut).expect("text"),
            "a,b=1 c=12i 1700000000123\nevents text=\"at 12\" 1700000000999\n"
        );
    }
}
