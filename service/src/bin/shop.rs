//! A demo shop: a handful of products, sold through the service's public API and nothing else.
//!
//! It knows a merchant key and a webhook secret. An order makes a payment intent; the buyer pays it on the
//! service's checkout page; a signed webhook tells the shop, which then asks the service how the intent stands:
//! the webhook is a reason to look, not a proof. Event ids are remembered, so a repetition changes nothing.
//! Orders live in memory.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shardpay_service::merchant::webhooks;
use shardpay_service::pages;
use shardpay_service::secret::random_hex;

/// Id, name, price, picture.
const PRODUCTS: &[(&str, &str, &str, &str)] = &[
    ("tea", "Tea, 100 g", "4.50", "🍵"),
    ("bread", "A loaf of rye bread", "3.20", "🍞"),
    ("honey", "Heather honey", "7.90", "🍯"),
    ("soap", "Olive soap", "2.40", "🧼"),
    ("book", "A book about ledgers", "19.00", "📗"),
];
/// Orders kept.
const ORDERS_MAX: usize = 10_000;

#[derive(Parser)]
#[command(name = "shop", version, about = "A demo shop that takes shardpay")]
struct Arguments {
    /// Address to listen on.
    #[arg(long, env = "SHOP_LISTEN", default_value = "127.0.0.1:8001")]
    listen: SocketAddr,
    /// The service's URL.
    #[arg(long, env = "SHOP_SERVICE")]
    service: String,
    /// File with the merchant key (sk_…).
    #[arg(long, env = "SHOP_KEY_FILE")]
    key_file: PathBuf,
    /// File with the webhook secret (whsec_…).
    #[arg(long, env = "SHOP_WEBHOOK_SECRET_FILE")]
    webhook_secret_file: PathBuf,
    /// Where browsers reach the shop; default: the address it listens on.
    #[arg(long, env = "SHOP_PUBLIC_URL")]
    public_url: Option<String>,
    /// File to write the address to, once it is known.
    #[arg(long)]
    address_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Serialize)]
struct Order {
    order_id: String,
    product: Value,
    price: String,
    state: String,
    paid_us: Option<u64>,
    checkout_url: String,
    #[serde(skip)]
    intent: String,
}

struct Shop {
    service: String,
    public_url: String,
    key: String,
    secret: String,
    http: reqwest::Client,
    orders: Mutex<HashMap<String, Order>>,
    seen: Mutex<HashSet<String>>,
}

#[tokio::main]
pub(crate) async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    rustls::crypto::ring::default_provider().install_default().map_err(|_| anyhow!("another TLS provider is set"))?;
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        anyhow::Ok(text.trim().to_owned())
    };
    let listener = tokio::net::TcpListener::bind(arguments.listen).await?;
    let addr = listener.local_addr()?;
    let public_url = arguments.public_url.unwrap_or_else(|| format!("http://{addr}"));
    let shop = Arc::new(Shop {
        public_url: public_url.trim_end_matches('/').to_owned(),
        service: arguments.service.trim_end_matches('/').to_owned(),
        key: read(&arguments.key_file)?,
        secret: read(&arguments.webhook_secret_file)?,
        http: reqwest::Client::builder().timeout(std::time::Duration::from_secs(10)).build()?,
        orders: Mutex::default(),
        seen: Mutex::default(),
    });
    let router = Router::new()
        .route("/", get(async || pages::page("shop.html")))
        .route("/orders/{id}", get(async || pages::page("shop.html")))
        .route("/assets/{name}", get(async |Path(name): Path<String>| pages::asset(&name)))
        .route("/api/products", get(products))
        .route("/api/orders", post(order))
        .route("/api/orders/{id}", get(show))
        .route("/webhook", post(webhook))
        .layer(axum::middleware::map_response(guarded))
        .with_state(shop);
    if let Some(path) = arguments.address_file {
        std::fs::write(path, addr.to_string())?;
    }
    println!("shop http://{addr}");
    axum::serve(listener, router).with_graceful_shutdown(stopped()).await?;
    Ok(())
}

async fn stopped() {
    let mut terminate =
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("signals work");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Nothing inline, nothing from elsewhere.
async fn guarded(mut response: Response) -> Response {
    let csp = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
               form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(csp));
    response
}

async fn products() -> Json<Value> {
    let items: Vec<Value> = PRODUCTS
        .iter()
        .map(|(id, name, price, emoji)| json!({ "id": id, "name": name, "price": price, "emoji": emoji }))
        .collect();
    Json(json!({ "items": items }))
}

#[derive(Deserialize)]
struct OrderInput {
    product: String,
}

async fn order(State(shop): State<Arc<Shop>>, Json(input): Json<OrderInput>) -> Response {
    let Some((id, name, price, emoji)) = PRODUCTS.iter().find(|(id, ..)| *id == input.product) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let order_id = random_hex::<4>().to_uppercase();
    let body = json!({ "amount": price, "order_id": order_id, "description": name, "expires_in_s": 900,
        "return_url": format!("{}/orders/{order_id}", shop.public_url) });
    let request = shop.http.post(format!("{}/v1/intents", shop.service)).bearer_auth(&shop.key);
    let intent = match answer(request.header("Idempotency-Key", &order_id).json(&body)).await {
        Ok(intent) => intent,
        Err(error) => {
            eprintln!("shop: no intent: {}", shardpay_settings::reason(error.as_ref()));
            return StatusCode::BAD_GATEWAY.into_response();
        }
    };
    let intent = intent["id"].as_str().unwrap_or_default().to_owned();
    let checkout_url = format!("{}/checkout/{intent}", shop.service);
    let product = json!({ "id": id, "name": name, "emoji": emoji });
    let state = "open".to_owned();
    let made = json!({ "order_id": order_id, "checkout_url": checkout_url });
    let entry = Order {
        order_id: order_id.clone(),
        product,
        price: (*price).to_owned(),
        state,
        paid_us: None,
        checkout_url,
        intent,
    };
    let mut orders = shop.orders.lock().unwrap_or_else(PoisonError::into_inner);
    if orders.len() >= ORDERS_MAX {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    orders.insert(order_id, entry);
    (StatusCode::CREATED, Json(made)).into_response()
}

async fn show(State(shop): State<Arc<Shop>>, Path(id): Path<String>) -> Response {
    let found = shop.orders.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
    found.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |order| Json(order).into_response())
}

async fn answer(request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
    let answer = request.send().await?;
    let status = answer.status();
    let body: Value = answer.json().await?;
    if status.is_success() { Ok(body) } else { Err(anyhow!("{status}: {body}")) }
}

#[derive(Deserialize)]
struct Event {
    id: String,
    data: EventData,
}

#[derive(Deserialize)]
struct EventData {
    id: String,
    order_id: String,
}

async fn webhook(State(shop): State<Arc<Shop>>, headers: HeaderMap, body: String) -> StatusCode {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let given = headers.get(webhooks::SIGNATURE_HEADER).and_then(|value| value.to_str().ok()).unwrap_or("");
    if !webhooks::verify(&shop.secret, given, &body, now_s) {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(event) = serde_json::from_str::<Event>(&body) else { return StatusCode::BAD_REQUEST };
    if shop.seen.lock().unwrap_or_else(PoisonError::into_inner).contains(&event.id) {
        return StatusCode::NO_CONTENT;
    }
    let url = format!("{}/v1/intents/{}", shop.service, event.data.id);
    let Ok(intent) = answer(shop.http.get(url).bearer_auth(&shop.key)).await else {
        return StatusCode::SERVICE_UNAVAILABLE;
    };
    let mut orders = shop.orders.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(order) = orders.get_mut(&event.data.order_id).filter(|order| order.intent == event.data.id) {
        intent["state"].as_str().unwrap_or("open").clone_into(&mut order.state);
        let last = intent["payments"].as_array().and_then(|payments| payments.last());
        order.paid_us = last.and_then(|payment| payment["at_us"].as_u64());
    }
    shop.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(event.id);
    StatusCode::NO_CONTENT
}
