// The vendor's side: name and webhook, API keys, payments asked for, webhook events.

import { get, post, put, remove } from "./api.js";
import { euros, formatAmount, parsePositive } from "./text.js";
import { $, at, copyButton, el, onSubmit, show, when } from "./ui.js";

let shared;

const STATES = { open: "waiting", underpaid: "paid too little", paid: "paid", overpaid: "paid too much", expired: "expired", cancelled: "cancelled" };

export function showSelling(state) {
  shared = state;
  const { merchant } = state.user;
  if (merchant) {
    $("#merchant-form").elements.display_name.value = merchant.display_name;
    $("#merchant-form").elements.webhook_url.value = merchant.webhook_url ?? "";
  }
  show($("#merchant"), Boolean(merchant));
  const tell = (error) => $("#intents").replaceChildren(el("li", { class: "error" }, error.message));
  if (merchant) Promise.all([loadKeys(), loadSales()]).catch(tell);
  const timer = setInterval(() => shared.user.merchant && loadSales().catch(tell), 3_000);
  return () => clearInterval(timer);
}

onSubmit($("#merchant-form"), async (form) => {
  const webhook = form.get("webhook_url").trim();
  const merchant = await put("/v1/merchant", { display_name: form.get("display_name").trim(), ...(webhook ? { webhook_url: webhook } : {}) });
  shared.user.merchant = merchant;
  show($("#merchant"));
  await Promise.all([loadKeys(), loadSales()]);
});

async function loadKeys() {
  const { items } = await get("/v1/merchant/keys");
  const line = (key) => {
    const button = el("button", { type: "button", class: "quiet" }, "Revoke");
    button.addEventListener("click", async () => {
      await remove(`/v1/merchant/keys/${key.id}`);
      await loadKeys();
    });
    return el("li", {}, el("span", {}, key.label, " ", el("small", {}, when(key.created_us))), button);
  };
  $("#keys").replaceChildren(...(items.length ? items.map(line) : [el("li", {}, "No keys yet.")]));
}

function showSecret(what, secret) {
  $("#secret").replaceChildren(`${what}, shown only now: `, el("span", { "data-secret": true }, secret), " ", copyButton(secret));
  show($("#secret"));
}

$("#new-key").addEventListener("click", async () => {
  const made = await post("/v1/merchant/keys", { label: `Key of ${new Date().toLocaleDateString()}` });
  showSecret("API key", made.secret);
  await loadKeys();
});

$("#new-secret").addEventListener("click", async () => showSecret("Webhook secret", (await post("/v1/merchant/webhook-secret", {})).secret));

async function loadSales() {
  const [intents, events] = await Promise.all([get("/v1/intents?limit=25"), get("/v1/merchant/events?newest=true&limit=25")]);
  const sale = (intent) =>
    el(
      "li",
      { "data-intent": intent.id },
      el("a", { href: `/checkout/${intent.id}` }, intent.description || intent.order_id),
      el("span", { class: "amount" }, euros(intent.amount)),
      el("span", { class: "hint" }, `${STATES[intent.state] ?? intent.state}${intent.late ? ", late" : ""} · order ${intent.order_id} · ${when(intent.created_us)}`),
    );
  const hook = (event) =>
    el(
      "li",
      { "data-event": event.type },
      el("span", {}, event.type),
      el("span", { class: event.delivered_us ? "good" : "hint" }, event.delivered_us ? "delivered" : "waiting"),
      el("span", { class: "hint" }, `${when(event.created_us)} · ${event.attempts} ${event.attempts === 1 ? "attempt" : "attempts"}`),
    );
  $("#intents").replaceChildren(...(intents.items.length ? intents.items.map(sale) : [el("li", {}, "None yet.")]));
  $("#webhooks").replaceChildren(...(events.items.length ? events.items.map(hook) : [el("li", {}, "None yet.")]));
}

onSubmit($("#intent-form"), async (form) => {
  const amount = formatAmount(at("amount", () => parsePositive(form.get("amount"))));
  const description = form.get("description").trim();
  const intent = await post("/v1/intents", { amount, order_id: form.get("order_id").trim(), ...(description ? { description } : {}) });
  const link = `${location.origin}/checkout/${intent.id}`;
  $("#intent-made").replaceChildren(el("a", { href: link }, link), " ", copyButton(link));
  show($("#intent-made"));
  $("#intent-form").reset();
  await loadSales();
});

$("#reload-sales").addEventListener("click", loadSales);
