//! Where to push: the write endpoints, as configuration files and the command line name them.

use std::path::PathBuf;
use std::str::FromStr;

use reqwest::Url;
use serde::Deserialize;

/// Name of organisation and bucket when none is given; the demo app's own.
const NAME: &str = "shardpay";

/// Why a push target is of no use.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// A value that cannot be.
    #[error("{key}: {why}")]
    Value {
        /// The key, such as `telemetry_push[0].url`.
        key: String,
        /// What is wrong with it.
        why: String,
    },
    /// No HTTP client can be made.
    #[error("pushing telemetry: {0}")]
    Client(#[source] reqwest::Error),
}

/// In which unit timestamps are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum Precision {
    /// Nanoseconds, as recorded.
    #[default]
    #[serde(rename = "ns")]
    Nanoseconds,
    /// Microseconds.
    #[serde(rename = "us")]
    Microseconds,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
}

impl Precision {
    /// The value of the query's `precision`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Microseconds => "us",
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
        }
    }

    /// Last digits of a nanosecond that the unit has not.
    pub(crate) const fn digits_cut(self) -> usize {
        match self {
            Self::Nanoseconds => 0,
            Self::Microseconds => 3,
            Self::Milliseconds => 6,
            Self::Seconds => 9,
        }
    }

    fn parse(name: &str) -> Option<Self> {
        let all = [Self::Nanoseconds, Self::Microseconds, Self::Milliseconds, Self::Seconds];
        all.into_iter().find(|precision| precision.name() == name)
    }
}

/// One write endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushTarget {
    /// The server, such as `http://127.0.0.1:8086`; a path is kept in front of `/api/v2/write`.
    pub url: String,
    /// Organisation.
    #[serde(default = "name")]
    pub org: String,
    /// Bucket.
    #[serde(default = "name")]
    pub bucket: String,
    /// File with the token; none is sent without it.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// Unit of timestamps.
    #[serde(default)]
    pub precision: Precision,
}

fn name() -> String {
    NAME.to_owned()
}

/// A target that was checked: what a request needs.
#[derive(Clone)]
pub(crate) struct Resolved {
    /// The write endpoint with its query.
    pub(crate) url: Url,
    /// Value of the header `Authorization`.
    pub(crate) authorization: Option<String>,
    pub(crate) precision: Precision,
    /// For messages: the server without path, query or secrets.
    pub(crate) shown: String,
}

impl PushTarget {
    /// Checks the target and reads its token; `key` is its name in the configuration.
    pub(crate) fn resolve(&self, key: &str) -> Result<Resolved, PushError> {
        let wrong = |part: &str, why: String| PushError::Value { key: format!("{key}.{part}"), why };
        let mut url = Url::parse(&self.url).map_err(|error| wrong("url", format!("{:?}: {error}", self.url)))?;
        if !matches!(url.scheme(), "http" | "https") || url.query().is_some() {
            return Err(wrong("url", format!("{:?} is no URL like http://127.0.0.1:8086", self.url)));
        }
        let path = format!("{}/api/v2/write", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.query_pairs_mut()
            .append_pair("org", &self.org)
            .append_pair("bucket", &self.bucket)
            .append_pair("precision", self.precision.name());
        let authorization = match &self.token_file {
            None => None,
            Some(path) => {
                let token = std::fs::read_to_string(path)
                    .map_err(|error| wrong("token_file", format!("{}: {error}", path.display())))?;
                let token = token.trim();
                if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(wrong("token_file", format!("{} holds no token", path.display())));
                }
                Some(format!("Token {token}"))
            }
        };
        let shown = url.origin().ascii_serialization();
        Ok(Resolved { url, authorization, precision: self.precision, shown })
    }
}

/// All targets of a server: a list of tables in a file, or words of one text on the command line and in the
/// environment, such as `http://127.0.0.1:8086?org=o&bucket=b&token_file=/etc/token`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct PushTargets(pub Vec<PushTarget>);

impl FromStr for PushTargets {
    type Err = PushError;

    fn from_str(text: &str) -> Result<Self, PushError> {
        text.split_whitespace().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

fn parse(text: &str) -> Result<PushTarget, PushError> {
    let wrong = |key: &str, why: String| PushError::Value { key: key.to_owned(), why };
    let mut url = Url::parse(text).map_err(|error| wrong("url", format!("{text:?}: {error}")))?;
    let mut target = PushTarget {
        url: String::new(),
        org: name(),
        bucket: name(),
        token_file: None,
        precision: Precision::Nanoseconds,
    };
    for (key, value) in url.query_pairs() {
        match &*key {
            "org" => target.org = value.into_owned(),
            "bucket" => target.bucket = value.into_owned(),
            "token_file" => target.token_file = Some(PathBuf::from(&*value)),
            "precision" => {
                let known = Precision::parse(&value);
                target.precision =
                    known.ok_or_else(|| wrong("precision", format!("{value:?} is not ns, us, ms or s")))?;
            }
            other => return Err(wrong(other, "is none of org, bucket, token_file, precision".to_owned())),
        }
    }
    url.set_query(None);
    target.url = url.into();
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_targets() {
        let text = "http://h:1?org=o&bucket=b&token_file=/t&precision=ms  https://x/base";
        let PushTargets(targets) = text.parse().expect("two targets");
        assert_eq!(targets[0].url, "http://h:1/");
        assert_eq!((targets[0].org.as_str(), targets[0].bucket.as_str()), ("o", "b"));
        assert_eq!(targets[0].token_file.as_deref(), Some(std::path::Path::new("/t")));
        assert_eq!(targets[0].precision, Precision::Milliseconds);
        assert_eq!((targets[1].org.as_str(), targets[1].bucket.as_str()), ("shardpay", "shardpay"));
        let url = targets[1].resolve("push[1]").expect("complete").url;
        assert_eq!(url.as_str(), "https://x/base/api/v2/write?org=shardpay&bucket=shardpay&precision=ns");
    }

    #[test]
    fn errors_name_the_key() {
        let says = |text: &str| text.parse::<PushTargets>().expect_err("wrong").to_string();
        assert!(says("nowhere").starts_with("url: \"nowhere\": "));
        assert!(says("http://h?colour=red").starts_with("colour: is none of"));
        assert!(says("http://h?precision=minutes").starts_with("precision: "));
        let target = |text: &str| text.parse::<PushTargets>().expect("targets").0.remove(0);
        let says = |text: &str| target(text).resolve("telemetry_push[0]").map(|_| ()).expect_err("wrong").to_string();
        assert!(says("ftp://h").starts_with("telemetry_push[0].url: "));
        assert!(says("http://h?token_file=/absent/token").starts_with("telemetry_push[0].token_file: /absent/token: "));
    }
}
