//! The pages: files of `service/pages`, built into the program.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::app::App;
use crate::error::Problem;

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// The text of a file.
fn file(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// A page, or that there is none.
pub fn page(name: &str) -> Response {
    match file(name) {
        Some(text) => {
            let headers = [(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")];
            (headers, text).into_response()
        }
        None => Problem::not_found("page").into_response(),
    }
}

/// A script, style or picture, or that there is none.
pub fn asset(name: &str) -> Response {
    let kind = match name.rsplit_once('.') {
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        Some((_, "json")) => "application/json",
        _ => return Problem::not_found("file").into_response(),
    };
    match file(name) {
        Some(text) => ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache")], text).into_response(),
        None => Problem::not_found("file").into_response(),
    }
}

/// The service's pages.
pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(async || page("wallet.html")))
        .route("/wallet", get(async || page("wallet.html")))
        .route("/pay", get(async || page("wallet.html")))
        .route("/supply", get(async || page("supply.html")))
        .route("/checkout/{id}", get(async || page("checkout.html")))
        .route("/tx", get(async || page("tx.html")))
        .route("/tx/{txid}", get(async || page("tx.html")))
        .route("/assets/{name}", get(async |Path(name): Path<String>| asset(&name)))
}
