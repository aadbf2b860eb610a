//! The HTTP API: `API.md` in words, `GET /v1/openapi.json` for machines. Both the router and the document are
//! made from one table (`routes`), so no route is missing in the document and none is only there.

mod buy;
mod cash_out;
mod events;
mod extract;
mod idempotency;
mod merchant;
mod observe;
mod pay;
mod public;
mod routes;
mod session;
mod spec;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::error::{Code, Problem};
use crate::pages;

pub use spec::document;

/// The whole service.
pub fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for route in routes::routes() {
        let mut handler = route.handler;
        if route.spec.idempotent {
            handler = handler.route_layer(from_fn_with_state(app.clone(), idempotency::once));
        }
        router = router.route(route.spec.path, handler);
    }
    router
        .merge(pages::router())
        .fallback(async |request: Request| Problem::not_found(&format!("page {}", request.uri().path())))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed, "not with this method"))
        .layer(from_fn(panics))
        .layer(from_fn_with_state(app.clone(), observe::observe))
        .with_state(app)
}

/// A bug of ours answers one request badly and no other.
async fn panics(request: Request, next: axum::middleware::Next) -> Response {
    use std::panic::AssertUnwindSafe;
    let mut running = Box::pin(AssertUnwindSafe(next.run(request)));
    let outcome = std::future::poll_fn(|context| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(context)));
        match polled {
            Ok(std::task::Poll::Pending) => std::task::Poll::Pending,
            Ok(std::task::Poll::Ready(response)) => std::task::Poll::Ready(Some(response)),
            Err(_) => std::task::Poll::Ready(None),
        }
    });
    let found = outcome.await;
    found.unwrap_or_else(|| Problem::new(Code::Internal, "the request could not be answered").into_response())
}
