// Buying coins by card.

import { newKey, post, watch } from "./api.js";
import { euros, formatAmount, parsePositive } from "./text.js";
import { $, FieldMistake, Steps, at, el, onSubmit, reason, show } from "./ui.js";

let shared;
let steps;
let current;

export function showBuying(state) {
  shared = state;
}

const TEXTS = {
  charging: "Asking the bank",
  challenge: "The bank asks for a code",
  captured: "Card charged",
  minting: "Making your coins",
  done: "Coins made and proven",
  declined: "Declined",
  refunding: "Giving the money back",
  refunded: "Money given back",
};

// The same key until the answer is there: pressed twice, the card is charged once.
let key = newKey();

onSubmit($("#buy-form"), async (form) => {
  const amount = at("amount", () => parsePositive(form.get("amount"), { cents: true }));
  const number = form.get("number").replace(/[\s-]/g, "");
  if (!luhn(number)) throw new FieldMistake("number", "This card number is mistyped.");
  const expiry = form.get("expiry").trim();
  if (!/^(0[1-9]|1[0-2])\/\d\d$/.test(expiry)) throw new FieldMistake("expiry", "Month and year, like 08/29.");
  const card = { number, expiry, cvc: form.get("cvc").trim(), holder: form.get("holder").trim() };
  show($("#buy-status"));
  steps = new Steps($("#buy-status"), `Buying ${euros(formatAmount(amount))}`);
  try {
    const purchase = await post("/v1/purchases", { amount: formatAmount(amount), card }, key);
    $("#buy-form").reset();
    follow(purchase);
  } catch (error) {
    show($("#buy-status"), false);
    throw error;
  } finally {
    key = newKey();
  }
}, { "card.number": "number", "card.expiry": "expiry", "card.cvc": "cvc", "card.holder": "holder" });

onSubmit($("#challenge"), async (form) => {
  const purchase = await post(`/v1/purchases/${current}/challenge`, { code: form.get("code").trim() });
  show($("#challenge"), false);
  $("#challenge").reset();
  onState(purchase);
});

function follow(purchase) {
  current = purchase.id;
  onState(purchase);
  if (!purchase.final) watch(`/v1/purchases/${purchase.id}/events`, "purchase", onState);
}

async function onState(purchase) {
  const { state, final } = purchase;
  const kind = state === "done" ? "good" : final ? "bad" : "";
  if (TEXTS[state]) steps.add(state, final && state !== "done" ? `${TEXTS[state]}. ${reason(purchase.error)}` : TEXTS[state], kind);
  show($("#challenge"), state === "challenge");
  if (state === "challenge") {
    $("#challenge-prompt").textContent = purchase.challenge?.prompt ?? "Please type the code your bank sent you.";
    $("#challenge").elements.code.focus();
  }
  if (state === "done" && !$("#buy-status").querySelector("[data-done]")) {
    $("#buy-status").append(el("p", { class: "result good", "data-done": true }, "The coins are yours. ", el("a", { href: `/tx/${purchase.txid}` }, "Details")));
    await shared.refresh();
  }
}

function luhn(number) {
  if (!/^\d{12,19}$/.test(number)) return false;
  const digits = Array.from(number).reverse().map(Number);
  return digits.reduce((sum, digit, i) => sum + (i % 2 ? (digit > 4 ? 2 * digit - 9 : 2 * digit) : digit), 0) % 10 === 0;
}

