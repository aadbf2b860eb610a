// Whether the bank holds a euro for each coin.

import { get } from "./api.js";
import { euros } from "./text.js";
import { $, el, show } from "./ui.js";

const FIGURES = ["minted", "burned", "in_circulation", "in_flight", "bank_balance", "captured_not_minted", "redeemed_not_paid", "charged_back", "minted_elsewhere"];
const EVERY_MS = 3_000;

async function load() {
  const supply = await get("/v1/supply");
  for (const name of FIGURES) $(`#${name}`).textContent = euros(supply[name]);
  $("#verdict").textContent = supply.agrees ? "✓ The bank holds exactly what is in circulation." : "✕ The figures do not agree.";
  $("#verdict").className = supply.agrees ? "good" : "bad";
  const difference = supply.difference.replace("-", "−");
  $("#difference").textContent = supply.agrees
    ? "Bank + charged back = circulation + charged, not minted + redeemed, not paid."
    : `Bank less coins: ${euros(difference)}. While payments run, look again in a moment: the figures are not of one instant.`;
  const cell = (text) => el("td", { class: "number" }, text);
  const row = (c) =>
    el("tr", {}, el("td", {}, String(c.committee)), cell(String(c.height)), cell(euros(c.balances)), cell(euros(c.minted)), cell(euros(c.burned)), cell(euros(c.sent)), cell(euros(c.received)));
  $("#committees").replaceChildren(...supply.committees.map(row));
  $("#as-of").textContent = `As of ${new Date().toLocaleTimeString()}.`;
  show($("#supply"));
  show($("#trouble"), false);
}

const tell = (error) => {
  $("#trouble").textContent = error.message;
  show($("#trouble"));
};
load().catch(tell);
setInterval(() => load().catch(tell), EVERY_MS);
