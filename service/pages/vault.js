// Where this browser keeps the encrypted keystore, and the keys of the wallet that is open.
// The keystore is encrypted before it is stored; the open key lives in this page's memory only.

import { get } from "./api.js";
import { keysOf, open, readKeystore } from "./keys.js";
import { Mistake } from "./text.js";

const place = (address) => `shardpay.keystore.${address}`;
const LOCK_AFTER_MS = 10 * 60 * 1_000;

let opened = null;
let timer;

export const keepHere = (keystore) => localStorage.setItem(place(keystore.address), JSON.stringify(keystore));

/** The encrypted keystore of a user: from this browser, else the copy the user left with the service. */
export async function keystoreOf(user) {
  const here = localStorage.getItem(place(user.address));
  if (here) return readKeystore(here);
  if (!user.has_keystore) return null;
  const file = readKeystore(JSON.stringify(await get("/v1/me/keystore")));
  if (file.address !== user.address) throw new Mistake("The service keeps a keystore of another wallet.");
  keepHere(file);
  return file;
}

/** The open key pair, or null. */
export const openKeys = () => opened;

export function lock() {
  opened = null;
  clearTimeout(timer);
}

export function keepOpen(keys) {
  opened = keys;
  clearTimeout(timer);
  timer = setTimeout(lock, LOCK_AFTER_MS);
  return keys;
}

/** The key pair, opened with the passphrase unless it is open already. */
export async function unlock(user, passphrase) {
  if (opened?.address === user.address) return keepOpen(opened);
  const keystore = await keystoreOf(user);
  if (!keystore) throw new Mistake("This browser does not have your wallet. Restore it from your 24 words first.");
  const entropy = await open(keystore, passphrase);
  const keys = await keysOf(entropy, keystore.account);
  entropy.fill(0);
  return keepOpen(keys);
}
