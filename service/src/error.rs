//! What a request is refused with: a stable code, words for people, and the field it is about.
//!
//! Every refusal is a `Problem` and leaves as `application/problem+json` (RFC 9457). Codes are listed in
//! `API.md`, chapter 9, and stand here once with their status. A failing store or gateway is logged with its
//! cause and answered without it.

use std::cell::Cell;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};

use crate::db::StoreError;

tokio::task_local! {
    /// The id of the request being answered.
    pub(crate) static REQUEST_ID: String;
    /// The code it is refused with, for the metrics.
    pub(crate) static REFUSED_AS: Cell<Option<Code>>;
}

macro_rules! codes {
    ($($(#[$meta:meta])* $name:ident = $status:literal, $code:literal, $title:literal;)*) => {
        /// Stable names of refusals.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code { $($(#[$meta])* #[doc = $title] $name,)* }

        impl Code {
            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The code as it is sent.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }

            const fn status(self) -> u16 {
                match self { $(Self::$name => $status),* }
            }

            const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }
        }
    };
}

codes! {
    Malformed = 400, "malformed", "The request cannot be read";
    IdempotencyKeyMissing = 400, "idempotency_key_missing", "The request needs an Idempotency-Key";
    Unauthorized = 401, "unauthorized", "Log in first";
    WrongCredentials = 401, "wrong_credentials", "Name or password is wrong";
    EventSignature = 401, "bad_signature", "The event is not signed by the gateway";
    Csrf = 403, "csrf", "The request did not come from the page you logged in with";
    Forbidden = 403, "forbidden", "Not yours";
    NotYourKey = 403, "not_your_key", "The sender is not your key";
    NotFound = 404, "not_found", "There is no such thing";
    MethodNotAllowed = 405, "method_not_allowed", "Not possible here";
    TooSlow = 408, "too_slow", "The request took too long to arrive";
    NameTaken = 409, "name_taken", "The name is taken";
    NoKey = 409, "no_key", "Your account has no key yet";
    KeySet = 409, "key_set", "Your account has another key";
    WrongState = 409, "wrong_state", "Not possible any more, or not yet";
    NotCertified = 409, "not_certified", "Not certified yet";
    SequenceUsed = 409, "sequence_used", "Another payment used this sequence; sign again";
    ShortBalance = 409, "short_balance", "Not enough coins";
    IdempotencyBusy = 409, "idempotency_busy", "The same request is being answered";
    TooLarge = 413, "too_large", "The request is too large";
    UnsupportedMediaType = 415, "unsupported_media_type", "JSON is expected";
    BadField = 422, "bad_field", "A field is wrong";
    BadProof = 422, "bad_proof", "The proof does not fit the key";
    BadCard = 422, "bad_card", "The card's data are wrong";
    BadTransaction = 422, "bad_transaction", "Not a transaction of the kind needed";
    BadSignature = 422, "bad_signature", "The transaction's signature does not verify";
    AmountTooSmall = 422, "amount_too_small", "The amount is below the minimum";
    Expired = 422, "expired", "The transaction has expired";
    BadIban = 422, "bad_iban", "The IBAN is wrong";
    PayoutRefMismatch = 422, "payout_ref_mismatch", "The redeem was signed for other bank details";
    RefundTooLarge = 422, "refund_too_large", "More than was paid";
    NotAPayer = 422, "not_a_payer", "The recipient paid nothing here";
    IdempotencyMismatch = 422, "idempotency_mismatch", "This Idempotency-Key was used for another request";
    RateLimited = 429, "rate_limited", "Too many requests";
    TooManyStreams = 429, "too_many_streams", "Too many open streams";
    TooManyAttempts = 429, "too_many_attempts", "Too many attempts; wait";
    Internal = 500, "internal", "A mistake of ours";
    Busy = 503, "busy", "Too much to do at the moment";
    Unavailable = 503, "unavailable", "Not available at the moment";
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Why.
    pub code: Code,
    /// In words.
    pub detail: String,
    /// The field it is about.
    pub field: Option<&'static str>,
    /// When trying again may help.
    pub retry_after_ms: Option<u64>,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    #[serde(serialize_with = "code_name")]
    code: Code,
    detail: &'a str,
    field: Option<&'static str>,
    request_id: String,
    retry_after_ms: Option<u64>,
}

fn code_name<S: Serializer>(code: &Code, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(code.name())
}

impl Problem {
    /// A refusal in these words.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), field: None, retry_after_ms: None }
    }

    /// A refusal because of a field.
    pub fn field(code: Code, field: &'static str, detail: impl Into<String>) -> Self {
        Self { field: Some(field), ..Self::new(code, detail) }
    }

    /// A field whose value is not accepted.
    pub fn bad(field: &'static str, detail: impl Into<String>) -> Self {
        Self::field(Code::BadField, field, detail)
    }

    /// There is no such thing.
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {what}"))
    }

    /// The same, to be tried again after so many milliseconds.
    pub fn retry_after(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store failed");
        Self::new(Code::Unavailable, "the store does not answer").retry_after(1_000)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let _ = REFUSED_AS.try_with(|cell| cell.set(Some(self.code)));
        let body = Body {
            kind: "about:blank",
            title: self.code.title(),
            status: self.code.status(),
            code: self.code,
            detail: &self.detail,
            field: self.field,
            request_id: REQUEST_ID.try_with(Clone::clone).unwrap_or_default(),
            retry_after_ms: self.retry_after_ms,
        };
        let text = serde_json::to_vec(&body).expect("a problem has string keys only");
        let status = StatusCode::from_u16(self.code.status()).expect("codes have valid statuses");
        let mut response = (status, text).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(ms) = self.retry_after_ms {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(ms.div_ceil(1_000)));
        }
        response
    }
}
