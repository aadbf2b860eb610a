// What came in and went out.

import { get } from "./api.js";
import { hex } from "./bytes.js";
import { euros, parseReference, shortAddress } from "./text.js";
import { $, at, el, onSubmit, show, when } from "./ui.js";

const KINDS = { mint: "Bought", redeem: "Cashed out", payment: "" };

// an intent's number says nothing to a person
const isNote = (entry) => entry.reference_text && entry.reference_text !== entry.reference;

function line(entry) {
  const incoming = entry.direction === "in";
  const who = entry.counterparty_name ?? shortAddress(entry.counterparty_address);
  const what = KINDS[entry.kind] || (incoming ? `From ${who}` : `To ${who}`);
  const failed = ["short_balance", "rejected", "returned"].includes(entry.state) ? " · not carried out" : "";
  return el(
    "li",
    {},
    el("a", { href: `/tx/${entry.txid}` }, what),
    el("span", { class: incoming ? "amount good" : "amount" }, `${incoming ? "+" : "−"}${euros(entry.amount)}`),
    el("span", { class: "hint" }, when(entry.at_us), isNote(entry) ? ` · ${entry.reference_text}` : "", failed),
  );
}

export function showLatest() {
  const list = $("#latest");
  const load = async () => {
    const { items } = await get("/v1/me/history?limit=5");
    list.replaceChildren(...(items.length ? items.map(line) : [el("li", {}, el("span", {}, "Nothing yet. "), el("a", { href: "#buy" }, "Buy your first coins"))]));
  };
  const tell = (error) => list.replaceChildren(el("li", { class: "error" }, error.message));
  load().catch(tell);
  const timer = setInterval(() => load().catch(tell), 3_000);
  return () => clearInterval(timer);
}

let filter = new URLSearchParams();
let cursor = null;

export function showHistory() {
  load(true).catch((error) => $("#entries").replaceChildren(el("li", { class: "error" }, error.message)));
}

async function load(anew) {
  const query = new URLSearchParams(filter);
  query.set("limit", "25");
  if (!anew && cursor) query.set("cursor", cursor);
  const page = await get(`/v1/me/history?${query}`);
  const lines = page.items.map(line);
  if (anew) $("#entries").replaceChildren(...(lines.length ? lines : [el("li", {}, "Nothing found.")]));
  else $("#entries").append(...lines);
  cursor = page.next_cursor;
  show($("#more"), cursor !== null);
}

onSubmit($("#history-form"), async (form) => {
  filter = new URLSearchParams();
  if (form.get("direction")) filter.set("direction", form.get("direction"));
  if (form.get("note").trim()) filter.set("reference", hex(at("note", () => parseReference(form.get("note").trim()))));
  $("#csv").href = `/v1/me/history.csv?${filter}`;
  await load(true);
});

$("#more").addEventListener("click", () => load(false));
