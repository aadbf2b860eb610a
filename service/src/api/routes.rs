//! The table of all routes.

use std::sync::Arc;

use axum::routing::{MethodRouter, delete, get, post, put};

use super::spec::{Answer, Auth, Spec, openapi};
use super::{buy, cash_out, merchant, pay, public, session};
use crate::app::App;

/// A route: what it is, and who answers.
pub(super) struct Route {
    pub(super) spec: Spec,
    pub(super) handler: MethodRouter<Arc<App>>,
}

fn route(spec: Spec, handler: MethodRouter<Arc<App>>) -> Route {
    Route { spec, handler }
}

/// All routes below `/v1`.
pub(super) fn routes() -> Vec<Route> {
    let mut all = network();
    all.extend(users());
    all.extend(money());
    all.extend(merchants());
    all
}

fn network() -> Vec<Route> {
    let op = |path, id, answer| Spec::get(path, id, answer);
    let json = Answer::Json;
    vec![
        route(op("/v1/health", "health", json("Health")), get(public::health)),
        route(op("/v1/ready", "ready", json("Ready")).also(503, "Ready"), get(public::ready)),
        route(op("/v1/openapi.json", "openapi", json("Document")), get(openapi)),
        route(op("/v1/network", "network", json("Network")), get(public::network)),
        route(op("/v1/genesis", "genesis", Answer::File("application/octet-stream")), get(public::genesis)),
        route(op("/v1/users/{name}", "find_user", json("PublicUser")).refuses(&[404]), get(public::user)),
        route(
            op("/v1/accounts/{account}", "account_balance", json("Balance")).refuses(&[422, 503]),
            get(public::account),
        ),
        route(
            op("/v1/transactions/{txid}", "find_transaction", json("Payment")).refuses(&[404, 422]),
            get(public::transaction),
        ),
        route(op("/v1/supply", "supply", json("Supply")), get(public::coins)),
        route(
            op("/v1/qr.svg", "qr_code", Answer::File("image/svg+xml")).query("text", true).refuses(&[422]),
            get(public::qr),
        ),
    ]
}

fn users() -> Vec<Route> {
    let json = Answer::Json;
    vec![
        route(
            Spec::post("/v1/users", "register", json("Login"), 201).takes("Credentials").refuses(&[409, 415, 422, 503]),
            post(session::register),
        ),
        route(
            Spec::post("/v1/session", "log_in", json("Login"), 200).takes("Credentials").refuses(&[401, 415, 503]),
            post(session::log_in),
        ),
        route(Spec::get("/v1/session", "session", json("Login")).asks(Auth::User), get(session::session)),
        route(Spec::delete("/v1/session", "log_out").asks(Auth::User), delete(session::log_out)),
        route(Spec::get("/v1/me", "me", json("User")).asks(Auth::User), get(session::me)),
        route(
            Spec::put("/v1/me/key", "set_key", json("User"), 200)
                .takes("KeyInput")
                .asks(Auth::User)
                .once()
                .refuses(&[409, 415, 422, 503]),
            put(session::set_key),
        ),
        route(
            Spec::get("/v1/me/keystore", "keystore", json("Keystore")).asks(Auth::User).refuses(&[404]),
            get(session::keystore),
        ),
        route(
            Spec::put("/v1/me/keystore", "set_keystore", Answer::Nothing, 204)
                .takes("Keystore")
                .asks(Auth::User)
                .once()
                .refuses(&[409, 413, 415, 422]),
            put(session::set_keystore),
        ),
        route(
            Spec::get("/v1/me/balance", "my_balance", json("Balance")).asks(Auth::User).refuses(&[409, 503]),
            get(public::my_balance),
        ),
    ]
}

fn money() -> Vec<Route> {
    let json = Answer::Json;
    let mine = |path, id, answer| Spec::get(path, id, answer).asks(Auth::User);
    let write = |path, id, schema, status, input| {
        let spec = Spec::post(path, id, Answer::Json(schema), status).takes(input).asks(Auth::User).once();
        spec.refuses(&[403, 404, 409, 413, 415, 422, 503])
    };
    vec![
        route(write("/v1/purchases", "buy", "Purchase", 201, "PurchaseInput"), post(buy::create)),
        route(mine("/v1/purchases", "purchases", json("Purchases")).paged(), get(buy::list)),
        route(mine("/v1/purchases/{id}", "purchase", json("Purchase")).refuses(&[404]), get(buy::get)),
        route(
            write("/v1/purchases/{id}/challenge", "answer_challenge", "Purchase", 200, "ChallengeInput"),
            post(buy::challenge),
        ),
        route(mine("/v1/purchases/{id}/events", "purchase_events", Answer::Stream).refuses(&[404]), get(buy::events)),
        route(
            Spec::post("/v1/gateway/card-events", "card_event", Answer::Nothing, 204)
                .takes("CardEvent")
                .refuses(&[401, 413, 422]),
            post(buy::gateway_event),
        ),
        route(write("/v1/payments", "pay", "Payment", 202, "SignedInput"), post(pay::create)),
        route(mine("/v1/payments/{txid}", "payment", json("Payment")).refuses(&[404, 422]), get(pay::get)),
        route(
            mine("/v1/payments/{txid}/events", "payment_events", Answer::Stream).refuses(&[404, 422]),
            get(pay::events),
        ),
        route(
            mine("/v1/payments/{txid}/receipt", "receipt", json("Receipt")).refuses(&[404, 409, 422, 503]),
            get(pay::receipt),
        ),
        route(filtered(mine("/v1/me/history", "history", json("Entries")).paged().refuses(&[409])), get(pay::history)),
        route(
            filtered(mine("/v1/me/history.csv", "history_csv", Answer::File("text/csv")).refuses(&[409, 422])),
            get(pay::history_csv),
        ),
        route(write("/v1/cash-outs", "cash_out", "CashOut", 202, "CashOutInput"), post(cash_out::create)),
        route(mine("/v1/cash-outs", "cash_outs", json("CashOuts")).paged(), get(cash_out::list)),
        route(mine("/v1/cash-outs/{id}", "find_cash_out", json("CashOut")).refuses(&[404]), get(cash_out::get)),
        route(
            mine("/v1/cash-outs/{id}/events", "cash_out_events", Answer::Stream).refuses(&[404]),
            get(cash_out::events),
        ),
        route(
            mine("/v1/cash-outs/{id}/pain001.xml", "payout_order", Answer::File("application/xml"))
                .refuses(&[404, 409]),
            get(cash_out::order_xml),
        ),
    ]
}

fn filtered(spec: Spec) -> Spec {
    let spec = spec.query("direction", false).query("reference", false);
    spec.query("from_us", false).query("to_us", false)
}

fn merchants() -> Vec<Route> {
    let json = Answer::Json;
    let own = |path, id, answer| Spec::get(path, id, answer).asks(Auth::Merchant).refuses(&[403]);
    let write = |path, id, schema, status, input, auth| {
        let spec = Spec::post(path, id, Answer::Json(schema), status).takes(input).asks(auth).once();
        spec.refuses(&[403, 404, 409, 413, 415, 422])
    };
    vec![
        route(
            Spec::put("/v1/merchant", "set_merchant", json("Merchant"), 200)
                .takes("MerchantInput")
                .asks(Auth::User)
                .once()
                .refuses(&[409, 413, 415, 422]),
            put(merchant::set),
        ),
        route(Spec::get("/v1/merchant/keys", "merchant_keys", json("Keys")).asks(Auth::User), get(merchant::keys)),
        route(
            write("/v1/merchant/keys", "make_merchant_key", "KeyMade", 201, "LabelInput", Auth::User),
            post(merchant::make_key),
        ),
        route(
            Spec::delete("/v1/merchant/keys/{id}", "delete_merchant_key").asks(Auth::User).refuses(&[404]),
            delete(merchant::delete_key),
        ),
        route(
            write("/v1/merchant/webhook-secret", "make_webhook_secret", "SecretMade", 201, "Nothing", Auth::User),
            post(merchant::webhook_secret),
        ),
        route(
            write("/v1/intents", "make_intent", "Intent", 201, "IntentInput", Auth::Merchant),
            post(merchant::create),
        ),
        route(own("/v1/intents", "intents", json("Intents")).paged().query("state", false), get(merchant::list)),
        route(own("/v1/intents/{id}", "intent", json("Intent")).refuses(&[404]), get(merchant::get)),
        route(
            write("/v1/intents/{id}/cancel", "cancel_intent", "Intent", 200, "Nothing", Auth::Merchant),
            post(merchant::cancel),
        ),
        route(
            write("/v1/intents/{id}/refunds", "refund", "Payment", 202, "SignedInput", Auth::Merchant),
            post(merchant::refund),
        ),
        route(
            own("/v1/merchant/settlements/{date}", "settlement", json("Settlement")).refuses(&[422]),
            get(merchant::report),
        ),
        route(
            own("/v1/merchant/events", "webhook_events", json("WebhookEvents")).paged().query("newest", false),
            get(merchant::webhook_events),
        ),
        route(Spec::get("/v1/checkout/{id}", "checkout", json("Checkout")).refuses(&[404]), get(merchant::checkout)),
        route(
            Spec::get("/v1/checkout/{id}/events", "checkout_events", Answer::Stream).refuses(&[404]),
            get(merchant::checkout_events),
        ),
    ]
}
