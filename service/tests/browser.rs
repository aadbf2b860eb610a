//! The circle, walked in a browser against real nodes: register → buy → shop checkout → the vendor sees the
//! payment and the webhook → cash out → the supply agrees. Its pictures are `docs/img/*.png`.
//!
//! Needs Debian's chromium and chromium-driver, so it is ignored unless asked for (`--include-ignored`); the
//! programs testbed, node, signaler and loadgen must lie beside the service.

#[allow(dead_code, unreachable_pub, reason = "shared between tests")]
#[path = "common/network.rs"]
mod network;

use std::process::Command;

use network::Network;
use serde_json::{Value, json};
use shardpay_browser::{Browser, program};

const PASSWORD: &str = "a password of the account";
const PASSPHRASE: &str = "a passphrase of the wallet";

/// Registers a user and makes a wallet, as a stranger would.
async fn new_user(browser: &Browser, name: &str, pictures: bool) {
    browser.see("#register").await;
    if pictures {
        browser.picture("wallet-welcome").await;
    }
    browser.fill("#register [name=name]", name).await;
    browser.fill("#register [name=password]", PASSWORD).await;
    browser.click("#register button").await;
    browser.fill("#create [name=passphrase]", PASSPHRASE).await;
    browser.fill("#create [name=repeated]", PASSPHRASE).await;
    browser.click("#create button").await;
    browser.see("#words").await;
    if pictures {
        browser.picture("wallet-words").await;
    }
    for field in ["first", "second"] {
        let script = format!(
            "const place = Number(document.querySelector('#{field}-label').textContent.split(' ')[1]);
             return document.querySelectorAll('#words li')[place - 1].textContent;"
        );
        let word = browser.script(&script, vec![]).await;
        browser.fill(&format!("#confirm [name={field}]"), word.as_str().expect("a word")).await;
    }
    browser.click("#confirm [name=backup]").await;
    browser.click("#confirm button").await;
    browser.read("#who", name).await;
    browser.read("#balance", "0.00").await;
}

async fn tab(browser: &Browser, name: &str) {
    browser.click(&format!("nav.tabs a[href='#{name}']")).await;
    browser.see(&format!("#{name}")).await;
}

async fn buy(browser: &Browser, amount: &str, card: &str) {
    tab(browser, "buy").await;
    let fields =
        [("amount", amount), ("number", card), ("expiry", "12/39"), ("cvc", "123"), ("holder", "Alice Example")];
    for (field, text) in fields {
        browser.fill(&format!("#buy-form [name={field}]"), text).await;
    }
    browser.click("#buy-form button").await;
}

/// What a stranger does wrong is said next to the field.
async fn mistakes_are_told(browser: &Browser) {
    buy(browser, "50", "4242 4242 4242 4241").await;
    browser.read("label:has([name=number]) .error", "mistyped").await;
    buy(browser, "50", "4000 0000 0000 0002").await;
    browser.read("#buy-status", "declined the card").await;
    browser.picture("wallet-declined").await;
    tab(browser, "pay").await;
    browser.fill("#pay-form [name=to]", "nobody-here").await;
    browser.fill("#pay-form [name=amount]", "1").await;
    browser.click("#pay-form button").await;
    browser.read("label:has([name=to]) .error", "nobody with the name").await;
}

/// Makes the user a vendor whose webhooks go to the shop; API key and webhook secret.
async fn open_shop(browser: &Browser, webhook: &str) -> (String, String) {
    tab(browser, "sell").await;
    browser.fill("#merchant-form [name=display_name]", "The corner shop").await;
    browser.fill("#merchant-form [name=webhook_url]", webhook).await;
    browser.click("#merchant-form button").await;
    let mut secrets = Vec::new();
    for (button, prefix) in [("#new-key", "sk_"), ("#new-secret", "whsec_")] {
        browser.click(button).await;
        secrets.push(browser.read("#secret [data-secret]", prefix).await);
    }
    let secret = secrets.pop().expect("two secrets");
    (secrets.pop().expect("two secrets"), secret)
}

/// Chooses a product, pays at the checkout, and is back at the shop with a paid order.
async fn shop(browser: &Browser, shop: &str) {
    browser.open(shop).await;
    browser.see(".product button").await;
    browser.picture("shop").await;
    browser.click(".product button").await;
    browser.read("#order", "Waiting for your payment").await;
    browser.picture("shop-order-open").await;
    browser.click("#pay a").await;
    browser.read("#state", "Waiting for your payment").await;
    browser.fill("#pay-form [name=passphrase]", PASSPHRASE).await;
    browser.picture("checkout").await;
    browser.click("#pay-form button").await;
    browser.read("#status", "Certified at height").await;
    browser.read("#paid", "Thank you").await;
    browser.picture("checkout-paid").await;
    browser.click("#back").await;
    let arrived = "document.querySelector('#order')?.checkVisibility() || document.querySelector('#last-order')?.checkVisibility()";
    browser.until(arrived).await;
    if browser.script("return document.querySelector('#last-order').checkVisibility();", vec![]).await == json!(true) {
        browser.click("#last-order a").await;
    }
    browser.read("#order", "your order leaves today").await;
    browser.picture("shop-order-paid").await;
}

/// Pays the vendor by name with a note; the path of the receipt, and the transaction's page.
async fn pay(browser: &Browser, to: &str) -> (String, String) {
    tab(browser, "pay").await;
    browser.fill("#pay-form [name=to]", to).await;
    browser.fill("#pay-form [name=amount]", "1.25").await;
    browser.fill("#pay-form [name=note]", "a tip").await;
    if browser.script("return !document.querySelector('#pay [data-passphrase]').hidden;", vec![]).await == json!(true) {
        browser.fill("#pay-form [name=passphrase]", PASSPHRASE).await;
    }
    browser.click("#pay-form button").await;
    browser.see("#pay-status .result.good").await;
    browser.picture("wallet-pay").await;
    let links =
        "return [...document.querySelectorAll('#pay-status .result a')].map((link) => link.getAttribute('href'));";
    let links = browser.script(links, vec![]).await;
    let text = |place: usize| links[place].as_str().expect("a link").to_owned();
    (text(0), text(1))
}

async fn cash_out(browser: &Browser) {
    tab(browser, "cash-out").await;
    browser.fill("#cash-out-form [name=amount]", "20").await;
    browser.fill("#cash-out-form [name=iban]", "DE89 3704 0044 0532 0130 01").await;
    browser.fill("#cash-out-form [name=holder]", "Alice Example").await;
    if browser.script("return !document.querySelector('#cash-out [data-passphrase]').hidden;", vec![]).await
        == json!(true)
    {
        browser.fill("#cash-out-form [name=passphrase]", PASSPHRASE).await;
    }
    browser.click("#cash-out-form button").await;
    browser.read("label:has([name=iban]) .error", "mistyped").await;
    browser.fill("#cash-out-form [name=iban]", "DE89 3704 0044 0532 0130 00").await;
    browser.click("#cash-out-form button").await;
    browser.read("#cash-out-status [data-final=paid]", "20.00").await;
    browser.picture("wallet-cash-out").await;
}

/// On a phone in the dark: nothing is wider than the screen.
async fn on_a_phone(browser: &Browser, service: &str) {
    let dark = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
    browser.devtools("Emulation.setEmulatedMedia", dark).await;
    let metrics = json!({ "width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true });
    browser.devtools("Emulation.setDeviceMetricsOverride", metrics.clone()).await;
    for (place, name) in [("#home", "phone-wallet"), ("#receive", "phone-receive")] {
        browser.open(&format!("{service}/{place}")).await;
        browser.see(&format!("{place} .card")).await;
        browser.devtools("Emulation.setDeviceMetricsOverride", metrics.clone()).await;
        let wide = browser.script("return document.documentElement.scrollWidth;", vec![]).await;
        assert!(wide.as_u64().expect("a number") <= 390, "{place} is {wide} wide");
        browser.screen(name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromium-driver, and the programs of the workspace"]
async fn the_circle() {
    let mut network = Network::start().await;
    let service = network.service.clone();

    let vendor = Browser::start().await;
    vendor.open(&service).await;
    new_user(&vendor, "corner-shop", false).await;
    let shop_address = network.reserve_shop();
    let (key, secret) = open_shop(&vendor, &format!("{shop_address}/webhook")).await;
    network.start_shop(&key, &secret).await;

    let buyer = Browser::start().await;
    buyer.open(&service).await;
    new_user(&buyer, "alice", true).await;
    mistakes_are_told(&buyer).await;
    buy(&buyer, "50", "4242 4242 4242 4242").await;
    buyer.see("[data-done]").await;
    buyer.read("#balance", "50.00").await;
    buyer.picture("wallet-buy").await;

    shop(&buyer, &shop_address).await;
    buyer.open(&service).await;
    let (receipt, details) = pay(&buyer, "corner-shop").await;
    check_receipt(&network, &buyer, &receipt).await;
    buyer.open(&format!("{service}{details}")).await;
    buyer.read("#facts", "a tip").await;
    buyer.picture("transaction").await;

    // the vendor sees both, and that the shop was told
    vendor.read("#intents", "paid").await;
    vendor.read("#webhooks [data-event='intent.paid']", "delivered").await;
    vendor.picture("wallet-sell").await;
    tab(&vendor, "history").await;
    vendor.read("#entries", "From alice").await;
    vendor.read("#entries", "a tip").await;

    buyer.open(&format!("{service}/#cash-out")).await;
    cash_out(&buyer).await;
    tab(&buyer, "home").await;
    buyer.read("#latest", "Cashed out").await;
    buyer.picture("wallet-overview").await;

    buyer.open(&format!("{service}/supply")).await;
    buyer.read("#verdict", "exactly what is in circulation").await;
    let burned = buyer.read("#burned", "20.00").await;
    assert_eq!(burned.trim(), "20.00\u{a0}€");
    assert_eq!(buyer.read("#bank_balance", "30.00").await.trim(), "30.00\u{a0}€");
    buyer.picture("supply").await;
    on_a_phone(&buyer, &service).await;

    nothing_secret_is_stored(&buyer).await;
    buyer.quit().await;
    vendor.quit().await;
    network.stop().await;
}

/// The receipt that the page offers proves the payment, offline.
async fn check_receipt(network: &Network, browser: &Browser, path: &str) {
    let body = "return (await fetch(input)).text();";
    let receipt = browser.run(body, json!(path)).await;
    let file = network.dir().join("receipt.json");
    std::fs::write(&file, receipt.as_str().expect("text")).expect("ours");
    let mut command = Command::new(program("wallet"));
    command.arg("verify-receipt").arg(&file).arg("--json").arg("--genesis").arg(network.genesis());
    let output = command.output().expect("the wallet starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let proof: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&proof["amount"], &proof["reference"]), (&json!("1.250000"), &json!("a tip")));
}

/// What the browser keeps is encrypted, and no cookie can be read by a script.
async fn nothing_secret_is_stored(browser: &Browser) {
    let kept = browser
        .script("return [JSON.stringify(localStorage), JSON.stringify(sessionStorage), document.cookie];", vec![])
        .await;
    let kept = kept.to_string();
    assert!(kept.contains("PBKDF2-HMAC-SHA-512"), "the keystore is kept: {kept}");
    for secret in [PASSWORD, PASSPHRASE, "session"] {
        assert!(!kept.contains(secret), "{secret} in {kept}");
    }
}
