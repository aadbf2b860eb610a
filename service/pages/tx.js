// One transaction, by its id.

import { get } from "./api.js";
import { euros } from "./text.js";
import { $, el, reason, show, when } from "./ui.js";

const txid = location.pathname.split("/").pop();
const KINDS = { payment: "Payment", redeem: "Cash-out (coins burned)", mint: "Purchase (coins made)" };
const STATES = {
  submitted: ["On its way", ""],
  certified: ["Certified", "good"],
  credited: ["Certified and credited", "good"],
  short_balance: ["Not carried out: not enough coins", "bad"],
  returned: ["Given back: the payee's account could not take it", "bad"],
  rejected: ["Not carried out", "bad"],
};
const AGAIN_MS = 1_000;

async function load() {
  const tx = await get(`/v1/transactions/${txid}`);
  const [text, kind] = STATES[tx.state] ?? [tx.state, ""];
  $("#amount").textContent = euros(tx.amount);
  $("#state").textContent = tx.reason ? `${text}: ${reason(tx.reason)}` : text;
  $("#state").className = `stamp ${kind}`;
  const who = (name, address) => [name, address].filter(Boolean).join(" · ");
  const facts = [
    ["Kind", KINDS[tx.kind] ?? tx.kind],
    ["From", who(tx.sender_name, tx.sender_address)],
    ["To", who(tx.recipient_name, tx.recipient_address)],
    ["Note", tx.reference_text],
    ["Sequence", tx.sequence],
    ["Submitted", when(tx.submitted_us)],
    ["Certified", tx.certified_us ? `${when(tx.certified_us)}, committee ${tx.committee}, height ${tx.height}` : null],
    ["Took", tx.latency_ms === null || tx.latency_ms === undefined ? null : `${tx.latency_ms} ms from submission to certificate`],
    ["Credited", tx.credited_us ? `${when(tx.credited_us)}, committee ${tx.credited_committee}, height ${tx.credited_height}` : null],
    ["Id", tx.txid],
  ];
  const shown = facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
  $("#facts").replaceChildren(...shown.flatMap(([name, value]) => [el("dt", {}, name), el("dd", { class: name === "Id" ? "mono" : "" }, String(value))]));
  const certified = tx.state === "certified" || tx.state === "credited";
  $("#receipt a").href = `/v1/payments/${txid}/receipt`;
  show($("#receipt"), certified);
  show($("#tx"));
  if (!tx.final) setTimeout(load, AGAIN_MS);
}

load().catch((error) => {
  $("#trouble").textContent = error.status === 404 ? "No transaction with this id is known here." : error.message;
  show($("#trouble"));
});
