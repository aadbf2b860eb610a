//! Streams of states: the state at once, again whenever it changed, until it is final.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::extract::Watcher;
use crate::app::App;
use crate::db::StoreError;
use crate::hub::Change;

/// A stream that says nothing new is ended after so long; the reader may open it again.
const LASTS: Duration = Duration::from_secs(600);

/// Streams what `load` gives whenever `concerns` a change; `load` says whether it is final. Holds the watcher's
/// places until then.
pub(super) fn stream<T, F>(
    app: &Arc<App>,
    Watcher(places): Watcher,
    name: &'static str,
    concerns: impl Fn(&Change) -> bool + Send + Sync + 'static,
    load: impl Fn(Arc<App>) -> F + Send + Sync + 'static,
) -> Response
where
    T: Serialize + PartialEq + Send + 'static,
    F: Future<Output = Result<Option<(T, bool)>, StoreError>> + Send,
{
    let (sender, events) = mpsc::channel::<Result<Event, Infallible>>(4);
    let app = app.clone();
    tokio::spawn(async move {
        let _places = places;
        let mut changes = app.hub.listen();
        let mut stop = app.stopping.subscribe();
        let mut last = None;
        loop {
            let Ok(Some((state, is_final))) = load(app.clone()).await else { return };
            if last.as_ref() != Some(&state) {
                let Ok(event) = Event::default().event(name).json_data(&state) else { return };
                if sender.send(Ok(event)).await.is_err() {
                    return;
                }
                last = Some(state);
            }
            if is_final {
                return;
            }
            let changed = async {
                loop {
                    match changes.recv().await {
                        Ok(change) if concerns(&change) => return,
                        Ok(_) => {}
                        Err(RecvError::Lagged(_) | RecvError::Closed) => return,
                    }
                }
            };
            tokio::select! {
                () = changed => {}
                () = sender.closed() => return,
                _ = stop.changed() => return,
                () = tokio::time::sleep(LASTS) => return,
            }
        }
    });
    let stream = Sse::new(ReceiverStream::new(events)).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)));
    let mut response = stream.into_response();
    let no_store = axum::http::HeaderValue::from_static("no-store");
    response.headers_mut().insert(axum::http::header::CACHE_CONTROL, no_store);
    response
}
