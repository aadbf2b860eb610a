// The demo shop's pages: shelves, and an order that waits for its payment.

import { euros } from "./text.js";
import { $, el, show, when } from "./ui.js";

const STATES = {
  open: ["Waiting for your payment", ""],
  paid: ["Paid", "good"],
  overpaid: ["Paid", "good"],
  underpaid: ["Paid in part", "bad"],
  expired: ["Expired", "bad"],
  cancelled: ["Cancelled", "bad"],
};
const EVERY_MS = 1_000;
const LAST = "shop.order";
const place = (order) => `shop.checkout.${order}`;

async function ask(path, options) {
  const answer = await fetch(path, options);
  if (!answer.ok) throw new Error(answer.status === 404 ? "There is no such order." : "The shop has a problem. Please try again.");
  return answer.json();
}

async function order(product) {
  const made = await ask("/api/orders", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ product }) });
  sessionStorage.setItem(place(made.order_id), made.checkout_url);
  sessionStorage.setItem(LAST, made.order_id);
  location.assign(`/orders/${encodeURIComponent(made.order_id)}`);
}

async function shelves() {
  const { items } = await ask("/api/products");
  const card = (product) => {
    const button = el("button", { type: "button", "data-product": product.id }, "Buy");
    button.addEventListener("click", () => {
      button.disabled = true;
      order(product.id).catch(tell).finally(() => (button.disabled = false));
    });
    return el("li", { class: "card product" }, el("span", { class: "picture", "aria-hidden": "true" }, product.emoji), el("h2", {}, product.name), el("p", { class: "price" }, euros(product.price)), button);
  };
  $("#products ul").replaceChildren(...items.map(card));
  const last = sessionStorage.getItem(LAST);
  if (last) {
    $("#last-order a").textContent = `order ${last}`;
    $("#last-order a").href = `/orders/${encodeURIComponent(last)}`;
    show($("#last-order"));
  }
  show($("#products"));
}

async function showOrder(id) {
  const found = await ask(`/api/orders/${id}`);
  const [text, kind] = STATES[found.state] ?? [found.state, ""];
  const checkout = found.checkout_url ?? sessionStorage.getItem(place(id));
  const paid = found.state === "paid" || found.state === "overpaid";
  $("#product").textContent = `${found.product?.name ?? found.product} · ${euros(found.price)}`;
  $("#order-id").textContent = found.order_id;
  $("#state").textContent = text;
  $("#state").className = `stamp ${kind}`;
  $("#when").textContent = found.paid_us ? when(found.paid_us) : "";
  if (checkout) $("#pay a").href = checkout;
  show($("#pay"), !paid && Boolean(checkout) && (found.state === "open" || found.state === "underpaid"));
  show($("#sent"), paid);
  show($("#order"));
  if (!paid) setTimeout(() => showOrder(id).catch(tell), EVERY_MS);
}

function tell(error) {
  $("#trouble").textContent = error.message;
  show($("#trouble"));
}

const id = location.pathname.startsWith("/orders/") ? location.pathname.split("/").pop() : null;
(id ? showOrder(id) : shelves()).catch(tell);
