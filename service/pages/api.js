// Talks to the service (service/API.md). Every error comes out as words a person understands.

/** What the service refused: `code` is stable, `field` names the request's field, `message` is plain words. */
export class Refused extends Error {
  constructor(problem, status) {
    super(PLAIN[problem.code] ?? problem.detail ?? `The service answered with an error (${status}).`);
    this.code = problem.code ?? "";
    this.field = problem.field ?? null;
    this.status = status;
  }
}

const PLAIN = {
  name_taken: "This name is taken. Please choose another one.",
  wrong_credentials: "Name and password do not fit together.",
  too_many_attempts: "Too many attempts. Please wait a minute and try again.",
  rate_limited: "Too many requests. Please wait a moment.",
  busy: "The service is busy. Please try again in a moment.",
  unavailable: "The service cannot reach the ledger just now. Your coins are safe; please try again in a moment.",
  unauthorized: "Please log in first.",
  csrf: "Your session has changed. Please reload the page.",
  no_key: "You need a wallet first.",
  key_set: "Your account already has a wallet with another address.",
  not_your_key: "This was signed with another wallet than the one of your account.",
  sequence_used: "Another device has paid at the same moment. Nothing was sent twice; please try again.",
  short_balance: "There are not enough coins in this wallet.",
  amount_too_small: "This amount is too small.",
  bad_iban: "This IBAN is mistyped.",
  expired: "This took too long and was not carried out. Please try again.",
  not_certified: "There is no receipt yet: the payment is not certified.",
  too_large: "This is too large.",
  too_many_streams: "Too many pages of this wallet are open. Please close some.",
  internal: "Something went wrong at the service. Please try again.",
};

/** Words for what ended a purchase, payment or cash-out badly. */
export const REASONS = {
  ...PLAIN,
  card_declined: "The bank declined the card. You have not been charged.",
  insufficient_funds: "There is not enough money behind this card. You have not been charged.",
  challenge_failed: "The code was wrong. You have not been charged.",
  not_charged: "The card was not charged.",
  mint_limit: "The coins could not be made; the money went back to your card.",
  disputed: "The card holder disputed this charge.",
};

const ASK_MS = 1_000;

let csrf = null;

/** The session, or null when nobody is logged in. */
export async function session() {
  try {
    return adopt(await get("/v1/session"));
  } catch (error) {
    if (error.status === 401) return null;
    throw error;
  }
}

export function adopt(login) {
  csrf = login.csrf_token;
  return login;
}

export const newKey = () => crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");

export const get = (path) => call("GET", path);
export const post = (path, body, key) => call("POST", path, body, key);
export const put = (path, body, key) => call("PUT", path, body, key);
export const remove = (path) => call("DELETE", path);

async function call(method, path, body, key = newKey()) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") {
    headers["Idempotency-Key"] = key;
    if (csrf) headers["X-CSRF-Token"] = csrf;
    if (body !== undefined) headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), credentials: "same-origin" });
  } catch {
    throw new Refused({ code: "unreachable", detail: "The service does not answer. Are you online?" }, 0);
  }
  if (answer.status === 204) return null;
  const text = await answer.text();
  let parsed = {};
  try {
    parsed = JSON.parse(text);
  } catch {
    // an answer without JSON is told by its status alone
  }
  if (!answer.ok) throw new Refused(parsed, answer.status);
  return parsed;
}

/** Follows a server-sent stream until `final`; returns a function that stops it. A refused stream is asked for by hand. */
export function watch(path, event, onData) {
  const source = new EventSource(path);
  let over = false;
  const stop = () => {
    over = true;
    source.close();
  };
  const told = (data) => {
    if (over) return;
    if (data.final) stop();
    onData(data);
  };
  const ask = () => {
    if (over) return;
    // a browser opens a stream again by itself unless it was refused
    get(path.replace(/\/events$/, "")).then(told, () => {}).finally(() => over || setTimeout(ask, ASK_MS));
  };
  source.addEventListener(event, (message) => told(JSON.parse(message.data)));
  source.addEventListener("error", () => source.readyState === EventSource.CLOSED && ask());
  return stop;
}

export function network() {
  network.known ??= get("/v1/network");
  network.known.catch(() => (network.known = undefined));
  return network.known;
}
