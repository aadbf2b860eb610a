// Signs a payment in this page, hands it in, and shows what becomes of it.

import { get, network, newKey, post, watch } from "./api.js";
import { signPayment } from "./keys.js";
import { formatAddress } from "./text.js";
import { Steps, el, reason } from "./ui.js";

const VALID_FOR_US = 10n * 60n * 1_000_000n;
const SIGN_AGAIN_MAX = 3;

/** What every signature needs: chain, next sequence, expiry by the service's clock. */
export async function nextToSign(address) {
  const [{ chain }, account, { time_us }] = await Promise.all([network(), get(`/v1/accounts/${address}`), get("/v1/network")]);
  return { chain, sequence: BigInt(account.next_sequence), validUntil: BigInt(time_us) + VALID_FOR_US };
}

/** Signs and hands in; signs again when another device was faster. `send` gets what was signed. */
export async function signAndSend(address, sign, send) {
  for (let attempt = 1; ; attempt++) {
    const signed = await sign(await nextToSign(address));
    try {
      return await send(signed, newKey());
    } catch (error) {
      if (error.code !== "sequence_used" || attempt === SIGN_AGAIN_MAX) throw error;
    }
  }
}

/** Pays and shows `what` and the steps in `box`; `after(payment)` is called with each state. */
export async function pay(keys, { recipient, amount, reference }, { box, what, after = () => {} }) {
  const steps = new Steps(box, what);
  const sign = (next) => signPayment(keys, { ...next, recipient, amount, reference });
  const payment = await signAndSend(keys.address, sign, async ({ transaction }, key) => {
    steps.add("signed", "Signed in this browser");
    return post("/v1/payments", { transaction }, key);
  });
  steps.add("submitted", "Handed to the committee");
  follow(payment, steps, box, after);
  return payment;
}

function follow(payment, steps, box, after) {
  watch(`/v1/payments/${payment.txid}/events`, "payment", (now) => {
    showState(now, steps);
    if (now.final) box.append(outcome(now));
    after(now);
  });
}

function showState(payment, steps) {
  const { state } = payment;
  if (payment.certified_us && state !== "short_balance") {
    steps.add("certified", `Certified at height ${payment.height} (${payment.latency_ms} ms at the service)`, "good");
  }
  if (payment.credited_us) steps.add("credited", `Arrived in the payee's committee at height ${payment.credited_height}`, "good");
  if (state === "short_balance") steps.add(state, "Not carried out: there were not enough coins. Nothing was moved.", "bad");
  if (state === "returned") steps.add(state, "The payee's account could not take it: your coins are back", "bad");
  if (state === "rejected") steps.add(state, `Not carried out: ${reason(payment.reason)}`, "bad");
}

function outcome(payment) {
  const good = payment.state === "certified" || payment.state === "credited";
  return el(
    "p",
    { class: good ? "result good" : "result bad" },
    good ? "Paid. " : "Nothing was paid. ",
    good ? el("a", { href: `/v1/payments/${payment.txid}/receipt`, download: `receipt-${payment.txid.slice(0, 12)}.json`, "data-receipt": true }, "Download the receipt") : null,
    good ? " · " : null,
    el("a", { href: `/tx/${payment.txid}` }, "Details"),
  );
}

/** Whom a person means: a user name, an address or a payment link. {key, label, amount, reference} */
export async function payee(text, { parseAddress, parseLink, unhex, Mistake }) {
  const typed = text.trim();
  if (/^shardpay:/i.test(typed)) {
    const link = parseLink(typed);
    return { ...link, label: formatAddress(link.key) };
  }
  if (/^shard1/i.test(typed)) return { key: parseAddress(typed), label: typed.toLowerCase(), amount: null, reference: null };
  try {
    const user = await get(`/v1/users/${encodeURIComponent(typed)}`);
    return { key: unhex(user.public_key), label: user.address, amount: null, reference: null };
  } catch (error) {
    if (error.status === 404 || error.status === 422 || error.status === 400) {
      throw new Mistake(`There is nobody with the name “${typed}” who has a wallet. Names are written in small letters.`);
    }
    throw error;
  }
}
