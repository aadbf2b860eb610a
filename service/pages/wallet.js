// The wallet page: who is logged in, whether there is a wallet here, and which part is shown.

import { adopt, get, network, post, put, remove, session } from "./api.js";
import { cannotSign, checkPassphrase, entropyOf, keyProof, keysOf, newEntropy, open, phraseOf, readKeystore, seal } from "./keys.js";
import { Mistake, euros } from "./text.js";
import { $, FieldMistake, at, atAsync, el, onSubmit, sayUnable, show } from "./ui.js";
import { keepHere, keepOpen, keystoreOf, lock, openKeys } from "./vault.js";
import { showBackup } from "./wallet-backup.js";
import { showBuying } from "./wallet-buy.js";
import { showHistory, showLatest } from "./wallet-history.js";
import { showCashOut, showPaying, showReceiving } from "./wallet-pay.js";
import { showSelling } from "./wallet-sell.js";

/** What the parts of the page share. */
const state = { user: null, balance: null, refresh };
const SECTIONS = ["welcome", "setup", "written", "wallet"];
const TABS = {
  home: showLatest, buy: showBuying, pay: showPaying, receive: showReceiving,
  "cash-out": showCashOut, history: showHistory, sell: showSelling, backup: showBackup,
};
let typedPassword = null;
let fresh = null;

function section(name) {
  const moved = SECTIONS.some((other) => other !== name && !$(`#${other}`).hidden);
  SECTIONS.forEach((other) => show($(`#${other}`), other === name));
  // who came here by keyboard or hears the page goes on at its beginning
  if (moved) $(`#${name} [tabindex="-1"]`)?.focus();
}

// ---- accounts --------------------------------------------------------------------------------------

async function entered(login) {
  state.user = login.user;
  $("#who").textContent = login.user.name;
  show($("#who"));
  show($("#logout"));
  await route();
}

async function route() {
  const { user } = state;
  const next = new URLSearchParams(location.search).get("next");
  if (!user.public_key) {
    show($("#create"));
    return section("setup");
  }
  if (!(await keystoreOf(user))) {
    $("#setup-lead").textContent =
      `Your account has a wallet (${user.address}), but this browser does not know its key. Please restore it here from your 24 words or a keystore file.`;
    show($("#create"), false);
    return section("setup");
  }
  // only our own checkout pages: nobody is sent elsewhere by a link
  if (next && /^\/checkout\/[0-9a-f]{32}$/.test(next)) return location.replace(next);
  section("wallet");
  showTab();
  await refresh();
}

async function refresh() {
  const balance = await get("/v1/me/balance");
  state.balance = balance;
  write("#balance", euros(balance.balance));
  const stale = balance.stale ? " The ledger cannot be reached just now; newer payments may be missing." : "";
  write("#as-of", `Proven at height ${balance.height} of committee ${balance.committee}.${stale}`);
}

/** Writes only what is new, so that nothing is read out twice. */
function write(selector, text) {
  if ($(selector).textContent !== text) $(selector).textContent = text;
}

onSubmit($("#register"), async (form) => {
  const password = form.get("password");
  if (password.length < 10) throw new FieldMistake("password", "At least 10 characters, please.");
  const login = adopt(await post("/v1/users", { name: form.get("name").trim(), password, kind: "cookie" }));
  typedPassword = password;
  await entered(login);
}, { name_taken: "name" });

onSubmit($("#login"), async (form) => {
  const login = adopt(await post("/v1/session", { name: form.get("name").trim(), password: form.get("password"), kind: "cookie" }));
  typedPassword = form.get("password");
  await entered(login);
}, { wrong_credentials: "password" });

$("#logout").addEventListener("click", async () => {
  lock();
  await remove("/v1/session");
  location.assign("/");
});

// ---- making and restoring a wallet -------------------------------------------------------------------

function notThePassword(passphrase) {
  if (typedPassword && passphrase === typedPassword) {
    throw new FieldMistake("passphrase", "The service knows your password; the passphrase must be another one, so that only you can open the wallet.");
  }
}

onSubmit($("#create"), async (form) => {
  const passphrase = form.get("passphrase");
  at("passphrase", () => checkPassphrase(passphrase));
  at("repeated", () => checkPassphrase(passphrase, form.get("repeated")));
  notThePassword(passphrase);
  const entropy = newEntropy();
  const phrase = await phraseOf(entropy);
  fresh = { keys: await keysOf(entropy, 0), keystore: await seal(entropy, 0, passphrase), phrase };
  entropy.fill(0);
  const [first, second] = twoPlaces();
  Object.assign(fresh, { first, second });
  $("#words").replaceChildren(...phrase.map((word) => el("li", {}, word)));
  $("#first-label").textContent = `Word ${first + 1}`;
  $("#second-label").textContent = `Word ${second + 1}`;
  $("#create").reset();
  section("written");
  scrollTo(0, 0);
});

function twoPlaces() {
  const [a, b] = crypto.getRandomValues(new Uint8Array(2));
  const first = a % 12;
  return [first, 12 + (b % 12)];
}

onSubmit($("#confirm"), async (form) => {
  for (const field of ["first", "second"]) {
    if (form.get(field).trim().toLowerCase() !== fresh.phrase[fresh[field]]) {
      throw new FieldMistake(field, "That is not the word at this place. Please look again.");
    }
  }
  await adoptKeys(fresh.keys, fresh.keystore, form.get("backup") === "on");
  $("#words").replaceChildren();
  fresh = null;
  await route();
});

onSubmit($("#restore"), async (form) => {
  const passphrase = form.get("passphrase");
  const file = form.get("file");
  let entropy;
  let keystore;
  if (file && file.size > 0) {
    keystore = await atAsync("file", async () => readKeystore(await file.text()));
    entropy = await atAsync("passphrase", () => open(keystore, passphrase));
  } else {
    if (!form.get("words").trim()) throw new FieldMistake("words", "Please type your 24 words, or choose a file.");
    entropy = await atAsync("words", () => entropyOf(form.get("words")));
    at("passphrase", () => checkPassphrase(passphrase));
    notThePassword(passphrase);
    keystore = await seal(entropy, 0, passphrase);
  }
  const keys = await keysOf(entropy, keystore.account);
  entropy.fill(0);
  if (state.user.address && state.user.address !== keys.address) {
    throw new Mistake(`These belong to another wallet (${keys.address}), not to the one of your account.`);
  }
  await adoptKeys(keys, keystore, false);
  $("#restore").reset();
  await route();
}, {});

async function adoptKeys(keys, keystore, backup) {
  if (!state.user.public_key) {
    const { chain } = await network();
    const proof = await keyProof(keys, chain, state.user.name);
    state.user = await put("/v1/me/key", { public_key: [...keys.publicKey].map((b) => b.toString(16).padStart(2, "0")).join(""), proof });
  }
  keepHere(keystore);
  if (backup) {
    await put("/v1/me/keystore", keystore);
    state.user.has_keystore = true;
  }
  keepOpen(keys);
}

// ---- tabs ------------------------------------------------------------------------------------------

let leaving = () => {};

function showTab() {
  const wanted = location.hash.slice(1).split("?")[0];
  const name = wanted in TABS ? wanted : "home";
  for (const part of document.querySelectorAll("[data-tab]")) show(part, part.id === name);
  for (const link of document.querySelectorAll("nav.tabs a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  for (const field of document.querySelectorAll("[data-passphrase]")) show(field, openKeys()?.address !== state.user.address);
  leaving();
  leaving = TABS[name](state) ?? (() => {});
}

addEventListener("hashchange", () => {
  if (!$("#wallet").hidden) showTab();
});

// Coins may arrive at any time: from others, or across committees a moment after a purchase is done.
setInterval(() => {
  if (!$("#wallet").hidden && !document.hidden) refresh().catch(() => ($("#as-of").textContent = "The service does not answer just now."));
}, 2_000);

// ---- start -----------------------------------------------------------------------------------------

try {
  sayUnable(await cannotSign());
  const login = await session();
  if (login) await entered(login);
  else section("welcome");
} catch (error) {
  $("#trouble").textContent = error.message;
  show($("#trouble"));
}
