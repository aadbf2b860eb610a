//! How the signaler refuses.

use serde::{Deserialize, Serialize};

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// 400: the body is no JSON.
    Malformed,
    /// 422: a field is missing, unknown, or has a wrong value.
    BadField,
    /// 403: the signature is not the key's over this request.
    BadSignature,
    /// 403: the key is not on the allow-list.
    NotAllowed,
    /// 404: the key never registered.
    UnknownNode,
    /// 409: registration is over.
    RegistrationClosed,
    /// 409: the counter or time is not above an earlier one.
    Stale,
    /// 409: no such plan is up for co-signing.
    UnknownPlan,
    /// 409: not in this phase or epoch.
    WrongPhase,
    /// 422: the time is too far from the signaler's.
    ClockSkew,
    /// 401: no operator token, or a wrong one.
    Unauthorized,
    /// 403: the signaler has no operator token.
    Disabled,
    /// 404: no such path.
    NotFound,
    /// 405: the path has no such method.
    MethodNotAllowed,
    /// 413: the body is too large.
    TooLarge,
    /// 415: the body is not declared as JSON.
    UnsupportedMediaType,
    /// 408: the body did not arrive in time.
    Timeout,
    /// 503: too many requests at once, or the signaler stops.
    Unavailable,
    /// A code this version does not know.
    #[serde(other)]
    Other,
}

/// The body of every answer with a 4xx or 5xx status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong, for programs.
    pub error: ErrorCode,
    /// Which field or parameter, if one.
    pub field: Option<String>,
    /// What is wrong, for people.
    pub detail: String,
}
