// The hosted checkout: what is asked for, paid from this browser's wallet or another one.

import { get, session } from "./api.js";
import { unhex } from "./bytes.js";
import { cannotSign } from "./keys.js";
import { pay } from "./paying.js";
import { Mistake, euros, formatAmount, parseAmount } from "./text.js";
import { $, atAsync, copyButton, onSubmit, qr, sayUnable, show, when } from "./ui.js";
import { keystoreOf, unlock } from "./vault.js";

const STATES = {
  open: ["Waiting for your payment", ""],
  underpaid: ["Paid in part", "bad"],
  paid: ["Paid", "good"],
  overpaid: ["Paid (more than asked)", "good"],
  expired: ["Expired", "bad"],
  cancelled: ["Cancelled by the shop", "bad"],
};
const POLL_MS = 1_000;

const id = location.pathname.split("/").pop();
let asked;
let user = null;

const due = (intent) => parseAmount(intent.amount) - parseAmount(intent.paid);

function showIntent(intent) {
  const [text, kind] = STATES[intent.state] ?? [intent.state, ""];
  const payable = intent.state === "open" || intent.state === "underpaid";
  $("#amount").textContent = euros(payable ? formatAmount(due(intent)) : intent.amount);
  $("#description").textContent = [intent.description, `Order ${intent.order_id}`].filter(Boolean).join(" · ");
  $("#state").textContent = text;
  $("#state").className = `stamp ${kind}`;
  $("#until").textContent = payable ? `until ${when(intent.expires_us)}` : "";
  show($("#ways"), payable);
  const paid = intent.state === "paid" || intent.state === "overpaid";
  show($("#paid"), paid);
  if (paid) {
    $("#paid-text").textContent = `${asked.merchant.display_name} has your ${euros(intent.paid)} and has been told.`;
    // where the shop wants its customers, else where this one came from
    const back = intent.return_url || (document.referrer.startsWith(location.origin) ? "" : document.referrer);
    if (/^https?:\/\//.test(back)) {
      $("#back").href = back;
      show($("#back"));
    }
  }
}

async function showPayer() {
  const login = await session();
  user = login?.user ?? null;
  const ready = user?.public_key && (await keystoreOf(user));
  show($("#sign"), Boolean(ready));
  show($("#log-in"), !ready);
  $("#log-in a").href = `/?next=/checkout/${id}`;
  if (ready) {
    const { balance } = await get("/v1/me/balance");
    $("#payer").textContent = `As ${user.name}; your balance is ${euros(balance)}.`;
    $("#log-in a").textContent = "Log in or register";
  } else if (user) {
    $("#payer").textContent = `Logged in as ${user.name}, but this browser has no wallet of yours.`;
    $("#log-in a").textContent = "Set up the wallet";
  } else {
    $("#payer").textContent = "With a wallet of this service.";
  }
}

onSubmit($("#pay-form"), async (form) => {
  const keys = await atAsync("passphrase", () => unlock(user, form.get("passphrase")));
  const { intent } = await get(`/v1/checkout/${id}`);
  if (!(intent.state === "open" || intent.state === "underpaid")) throw new Mistake("This is no longer to be paid.");
  show($("#status"));
  try {
    const order = { recipient: unhex(asked.merchant.public_key), amount: due(intent), reference: unhex(intent.reference) };
    await pay(keys, order, { box: $("#status"), what: `Your payment to ${asked.merchant.display_name}` });
    show($("#passphrase"), false);
  } catch (error) {
    show($("#status"), false);
    throw error;
  }
});

try {
  sayUnable(await cannotSign());
  asked = await get(`/v1/checkout/${id}`);
  $("#merchant").textContent = asked.merchant.display_name;
  $("#link").textContent = asked.link;
  $("#copy").replaceChildren(copyButton(asked.link));
  $("#qr").replaceChildren(qr(asked.link));
  showIntent(asked.intent);
  show($("#checkout"));
  const source = new EventSource(`/v1/checkout/${id}/events`);
  source.addEventListener("intent", (event) => showIntent(JSON.parse(event.data)));
  // a stream that ended is no reason to show an old state
  source.onerror = () => setTimeout(() => get(`/v1/checkout/${id}`).then(({ intent }) => showIntent(intent), () => {}), POLL_MS);
  await showPayer();
} catch (error) {
  $("#trouble").textContent = error.status === 404 ? "There is no such checkout. Please ask the shop for a new link." : error.message;
  show($("#trouble"));
}
