//! The wallet's page as strangers meet it: by keyboard alone, on a second device with nothing but 24 words, over a
//! connection on which browsers let nobody sign, with more streams open than are given. The ledger is in memory.
//!
//! Needs Debian's chromium and chromium-driver, so it is ignored unless asked for: `--include-ignored`.

mod common;

use common::world::{PASSWORD, World};
use serde_json::{Value, json};
use shardpay_browser::Browser;
use shardpay_service::app::Settings;

const PASSPHRASE: &str = "a passphrase of the wallet";

async fn world() -> World {
    World::with(Settings { rate: (100_000, 100_000), ..Settings::default() }).await
}

/// Presses a key as a keyboard does.
async fn press(browser: &Browser, key: &str, (code, text): (u32, &str)) {
    for kind in ["keyDown", "keyUp"] {
        let mut event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
        if kind == "keyDown" && !text.is_empty() {
            event["text"] = json!(text);
        }
        browser.devtools("Input.dispatchKeyEvent", event).await;
    }
}

async fn enter(browser: &Browser) {
    press(browser, "Enter", (13, "\r")).await;
}

/// Presses Tab until an element has the focus, as can be seen; panics when it is not reached.
async fn tab_to(browser: &Browser, css: &str) {
    browser.see(css).await;
    for _ in 0..60 {
        press(browser, "Tab", (9, "")).await;
        let script = format!(
            "const at = document.activeElement; const style = getComputedStyle(at);
             return [at.matches({css:?}), style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2, at.outerHTML.slice(0, 80)];"
        );
        let at = browser.script(&script, vec![]).await;
        assert!(at[1] == json!(true) || at[2].as_str().unwrap().starts_with("<body"), "the focus is seen: {at}");
        if at[0] == json!(true) {
            return;
        }
    }
    panic!("Tab does not lead to {css}");
}

async fn type_into(browser: &Browser, css: &str, text: &str) {
    tab_to(browser, css).await;
    browser.devtools("Input.insertText", json!({ "text": text })).await;
}

async fn words(browser: &Browser) -> Vec<String> {
    browser.see("#words").await;
    let script = "return [...document.querySelectorAll('#words li')].map((word) => word.textContent);";
    let words = browser.script(script, vec![]).await;
    words.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// The word that the page asks for in a field.
async fn asked(browser: &Browser, words: &[String], field: &str) -> String {
    let script = format!("return Number(document.querySelector('#{field}-label').textContent.split(' ')[1]);");
    let place = browser.script(&script, vec![]).await.as_u64().unwrap();
    words[usize::try_from(place).unwrap() - 1].clone()
}

/// Registers, makes a wallet and buys coins without a mouse; the 24 words.
async fn by_keyboard(browser: &Browser, name: &str) -> Vec<String> {
    type_into(browser, "#register [name=name]", name).await;
    type_into(browser, "#register [name=password]", "short").await;
    enter(browser).await;
    browser.read("#register label:has([name=password]) .error", "At least 10 characters").await;
    let at = "return document.activeElement.name + document.activeElement.getAttribute('aria-invalid');";
    assert_eq!(browser.script(at, vec![]).await, json!("passwordtrue"), "the mistake has the focus");
    browser.script("document.activeElement.select(); return null;", vec![]).await;
    browser.devtools("Input.insertText", json!({ "text": PASSWORD })).await;
    enter(browser).await;
    type_into(browser, "#create [name=passphrase]", PASSPHRASE).await;
    type_into(browser, "#create [name=repeated]", PASSPHRASE).await;
    enter(browser).await;
    let words = words(browser).await;
    for field in ["first", "second"] {
        let word = asked(browser, &words, field).await;
        type_into(browser, &format!("#confirm [name={field}]"), &word).await;
    }
    enter(browser).await;
    browser.read("#balance", "0.00").await;
    tab_to(browser, "nav.tabs a[href='#buy']").await;
    enter(browser).await;
    for (field, text) in
        [("amount", "20"), ("number", "4242424242424242"), ("expiry", "12/39"), ("cvc", "123"), ("holder", "A B")]
    {
        type_into(browser, &format!("#buy-form [name={field}]"), text).await;
    }
    tab_to(browser, "#buy-form button").await;
    enter(browser).await;
    browser.read("#balance", "20.00").await;
    words
}

/// Pays by name; waits for the certificate.
async fn pay(browser: &Browser, to: &str, amount: &str) {
    browser.click("nav.tabs a[href='#pay']").await;
    browser.fill("#pay-form [name=to]", to).await;
    browser.fill("#pay-form [name=amount]", amount).await;
    browser.click("#pay-form button").await;
    browser.see("#pay-status .result.good").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromium-driver"]
async fn by_keyboard_alone_and_again_from_24_words() {
    let world = world().await;
    let (_, _, vendor) = world.user("vendor").await;
    let first = Browser::start().await;
    first.open(&world.base).await;
    let words = by_keyboard(&first, "keys-only").await;
    first.quit().await;

    // another device knows nothing but the name, the password and the words
    let second = Browser::start().await;
    second.open(&world.base).await;
    second.fill("#login [name=name]", "keys-only").await;
    second.fill("#login [name=password]", PASSWORD).await;
    second.click("#login button").await;
    second.read("#setup-lead", "this browser does not know its key").await;
    let mut swapped = words.clone();
    swapped.swap(0, 1);
    let restore = async |words: &[String]| {
        second.fill("#restore [name=words]", &words.join(" ")).await;
        second.fill("#restore [name=passphrase]", "another passphrase here").await;
        second.click("#restore button").await;
    };
    if words[0] != words[1] {
        restore(&swapped).await;
        second.read("#restore label:has([name=words]) .error", "do not belong together").await;
    }
    restore(&words[..23]).await;
    second.read("#restore label:has([name=words]) .error", "24 words").await;
    restore(&words).await;
    second.read("#balance", "20.00").await;
    pay(&second, &vendor, "1.5").await;
    second.read("#balance", "18.50").await;
    second.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromium-driver"]
async fn an_unprotected_page_says_why_it_cannot_sign() {
    let world = world().await;
    let browser = Browser::start().await;
    browser.open(&format!("http://unprotected.example:{}", world.address.port())).await;
    browser.read("#unable", "Open it with https://").await;
    assert_eq!(browser.script("return isSecureContext;", vec![]).await, json!(false));
    browser.fill("#register [name=name]", "unprotected").await;
    browser.fill("#register [name=password]", PASSWORD).await;
    browser.click("#register button").await;
    browser.see("#create").await;
    let open = browser.script("return document.querySelectorAll('[data-signs] button:not(:disabled)').length;", vec![]);
    assert_eq!(open.await, json!(0), "nothing is taken that would have to be signed");
    browser.picture("wallet-unprotected").await;
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs chromium and chromium-driver"]
async fn a_refused_stream_is_asked_for_by_hand() {
    let world = world().await;
    let (_, _, vendor) = world.user("vendor").await;
    let browser = Browser::start().await;
    browser.open(&world.base).await;
    by_keyboard(&browser, "many-tabs").await;
    let address = "ip 127.0.0.1";
    let held: Vec<_> = std::iter::from_fn(|| world.app.streams.take(address, 256)).collect();
    assert!(held.len() > 200);
    pay(&browser, &vendor, "2").await;
    browser.read("#balance", "18.00").await;
    let kept = browser.script("return JSON.stringify(localStorage);", vec![]).await;
    assert!(matches!(kept, Value::String(text) if !text.contains(PASSPHRASE)), "nothing plain is kept");
    browser.quit().await;
}
