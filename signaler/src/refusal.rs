//! Why the signaler refuses a request, as it is told to the caller.

use shardpay_client::signaler::{ErrorBody, ErrorCode};

/// A refusal: typed for programs, explained for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) ErrorBody);

impl Refusal {
    /// A refusal that concerns no single field.
    pub(crate) fn new(error: ErrorCode, detail: impl Into<String>) -> Self {
        Self(ErrorBody { error, field: None, detail: detail.into() })
    }

    /// A refusal because of `field`.
    pub(crate) fn of(error: ErrorCode, field: &str, detail: impl Into<String>) -> Self {
        Self(ErrorBody { error, field: Some(field.to_owned()), detail: detail.into() })
    }

    /// A wrong value in `field`.
    pub(crate) fn field(field: &str, detail: impl Into<String>) -> Self {
        Self::of(ErrorCode::BadField, field, detail)
    }

    /// The HTTP status.
    pub(crate) const fn status(&self) -> u16 {
        match self.0.error {
            ErrorCode::Malformed => 400,
            ErrorCode::Unauthorized => 401,
            ErrorCode::BadSignature | ErrorCode::NotAllowed | ErrorCode::Disabled => 403,
            ErrorCode::UnknownNode | ErrorCode::NotFound => 404,
            ErrorCode::MethodNotAllowed => 405,
            ErrorCode::Timeout => 408,
            ErrorCode::RegistrationClosed | ErrorCode::Stale | ErrorCode::UnknownPlan | ErrorCode::WrongPhase => 409,
            ErrorCode::TooLarge => 413,
            ErrorCode::UnsupportedMediaType => 415,
            ErrorCode::BadField | ErrorCode::ClockSkew => 422,
            ErrorCode::Unavailable | ErrorCode::Other => 503,
        }
    }

    /// The label it is counted under.
    pub(crate) const fn label(&self) -> &'static str {
        match self.0.error {
            ErrorCode::Malformed => "malformed",
            ErrorCode::BadField => "bad_field",
            ErrorCode::BadSignature => "bad_signature",
            ErrorCode::NotAllowed => "not_allowed",
            ErrorCode::UnknownNode => "unknown_node",
            ErrorCode::RegistrationClosed => "registration_closed",
            ErrorCode::Stale => "stale",
            ErrorCode::UnknownPlan => "unknown_plan",
            ErrorCode::WrongPhase => "wrong_phase",
            ErrorCode::ClockSkew => "clock_skew",
            ErrorCode::Unauthorized => "unauthorized",
            ErrorCode::Disabled => "disabled",
            ErrorCode::NotFound => "not_found",
            ErrorCode::MethodNotAllowed => "method_not_allowed",
            ErrorCode::TooLarge => "too_large",
            ErrorCode::UnsupportedMediaType => "unsupported_media_type",
            ErrorCode::Timeout => "timeout",
            ErrorCode::Unavailable => "unavailable",
            ErrorCode::Other => "other",
        }
    }
}
