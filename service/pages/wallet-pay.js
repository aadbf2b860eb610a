// Paying, being paid, cashing out.

import { post, watch } from "./api.js";
import { hex, random, unhex } from "./bytes.js";
import { payoutRef, signRedeem } from "./keys.js";
import { pay, payee, signAndSend } from "./paying.js";
import { Mistake, euros, formatAmount, formatLink, parseAddress, parseHolder, parseIban, parseLink, parsePositive, parseReference, referenceText, shortAddress } from "./text.js";
import { $, Steps, at, atAsync, copyButton, el, onSubmit, qr, reason, show } from "./ui.js";
import { openKeys, unlock } from "./vault.js";

let shared;

const reading = { parseAddress, parseLink, unhex, Mistake };
const WHOM = $("#pay-to").textContent;
const hidePassphrases = () => document.querySelectorAll("[data-passphrase]").forEach((field) => show(field, !openKeys()));

// ---- pay -------------------------------------------------------------------------------------------

export function showPaying(state) {
  shared = state;
  const link = decodeURIComponent(location.hash.split("?to=")[1] ?? "");
  if (link) {
    $("#pay-form").elements.to.value = link;
    resolve();
  }
}

// Says who is meant as soon as the field is left; a link fills in the rest.
async function resolve() {
  const form = $("#pay-form");
  const hint = $("#pay-to");
  if (!form.elements.to.value.trim()) return;
  try {
    const to = await payee(form.elements.to.value, reading);
    hint.textContent = `Pays ${shortAddress(to.label)}`;
    if (to.amount !== null) form.elements.amount.value = formatAmount(to.amount).replace(/0{1,4}$/, "");
    if (to.reference !== null) form.elements.note.value = referenceText(to.reference);
  } catch (error) {
    hint.textContent = error.message;
  }
}

$("#pay-form").elements.to.addEventListener("change", resolve);

onSubmit($("#pay-form"), async (form) => {
  const to = await atAsync("to", () => payee(form.get("to"), reading));
  const amount = at("amount", () => parsePositive(form.get("amount")));
  const reference = at("note", () => parseReference(form.get("note")));
  const keys = await atAsync("passphrase", () => unlock(shared.user, form.get("passphrase")));
  hidePassphrases();
  show($("#pay-status"));
  try {
    const order = { recipient: to.key, amount, reference };
    const what = `${euros(formatAmount(amount))} to ${form.get("to").trim().slice(0, 64)}`;
    await pay(keys, order, { box: $("#pay-status"), what, after: () => shared.refresh() });
  } catch (error) {
    show($("#pay-status"), false);
    throw error;
  }
  $("#pay-form").reset();
  $("#pay-to").textContent = WHOM;
}, { short_balance: "amount", amount_too_small: "amount" });

// ---- receive ---------------------------------------------------------------------------------------

export function showReceiving(state) {
  shared = state;
  $("#my-name").textContent = state.user.name;
  $("#my-address").textContent = state.user.address;
  $("#copy-address").replaceChildren(copyButton(state.user.address));
  showLink(null, null);
}

function showLink(amount, reference) {
  const link = formatLink({ key: parseAddress(shared.user.address), amount, reference });
  $("#my-link").textContent = link;
  $("#copy-link").replaceChildren(copyButton(link));
  $("#my-qr").replaceChildren(qr(link));
}

onSubmit($("#receive-form"), async (form) => {
  const amount = form.get("amount").trim() ? at("amount", () => parsePositive(form.get("amount"))) : null;
  const reference = form.get("note").trim() ? at("note", () => parseReference(form.get("note").trim())) : null;
  showLink(amount, reference);
});

// ---- cash out --------------------------------------------------------------------------------------

export function showCashOut(state) {
  shared = state;
}

const CASH_OUT = {
  redeemed: ["Coins taken back, certified", "good"],
  paying: ["Handed to the bank", ""],
  paid: ["Paid by the bank", "good"],
  returning: ["The bank refused; making the coins again", "bad"],
  returned: ["Your coins are back", "good"],
};

onSubmit($("#cash-out-form"), async (form) => {
  const amount = at("amount", () => parsePositive(form.get("amount"), { cents: true }));
  const iban = at("iban", () => parseIban(form.get("iban")));
  const holder = at("holder", () => parseHolder(form.get("holder")));
  const keys = await atAsync("passphrase", () => unlock(shared.user, form.get("passphrase")));
  hidePassphrases();
  const box = $("#cash-out-status");
  show(box);
  try {
    const steps = new Steps(box, `${euros(formatAmount(amount))} to your bank account`);
    const salt = random(16);
    const commitment = await payoutRef(salt, iban, holder);
    const sign = (next) => signRedeem(keys, { ...next, amount, payoutRef: commitment });
    const cashOut = await signAndSend(keys.address, sign, ({ transaction }, key) => {
      steps.add("signed", "Signed in this browser");
      return post("/v1/cash-outs", { transaction, iban, holder, salt: hex(salt) }, key);
    });
    steps.add("submitted", "Handed to the committee");
    watch(`/v1/cash-outs/${cashOut.id}/events`, "cash_out", (now) => onCashOut(now, steps, box));
  } catch (error) {
    show(box, false);
    throw error;
  }
  $("#cash-out-form").reset();
}, { short_balance: "amount", amount_too_small: "amount", bad_iban: "iban" });

function onCashOut(now, steps, box) {
  const { state, final } = now;
  if (CASH_OUT[state]) steps.add(state, ...CASH_OUT[state]);
  else if (final) steps.add(state, `Not carried out: ${reason(now.reason ?? state)}`, "bad");
  if (final) {
    const paid = state === "paid";
    const said = paid ? `${euros(now.amount)} went to ${now.iban_masked}. ` : state === "returned" ? "The bank did not take the money. " : "Nothing was paid out. ";
    box.append(el("p", { class: paid ? "result good" : "result bad", "data-final": state }, said, el("a", { href: `/tx/${now.txid}` }, "Details")));
  }
  shared.refresh();
}
