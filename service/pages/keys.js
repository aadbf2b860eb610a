// Keys: 24 words (BIP-39), derivation (SLIP-0010), the encrypted keystore file, signing. All by WebCrypto.
// Plain keys, words and passphrases stay in this page: nothing in this module talks to a server.

import { base64, concat, hex, random, sha256, u32be, u64le, unbase64, unhex, utf8 } from "./bytes.js";
import { Mistake, formatAddress, parseAddress } from "./text.js";
import words from "./words.js";

export const PASSPHRASE_CHARS_MIN = 10;
const ITERATIONS = 600_000;
const ITERATIONS_MAX = 10_000_000;
const FILE_BYTES_MAX = 4_096;
const HARDENED = 0x80000000;
const PKCS8_ED25519 = unhex("302e020100300506032b657004220420");

/** Why this page cannot sign, in plain words; null when it can. */
export async function cannotSign() {
  if (!window.isSecureContext || !crypto.subtle) {
    return (
      "This page came over an unprotected connection (http:// from another machine). Browsers give a page the tools " +
      "to make keys and signatures only when nobody can have changed it on its way. Open it with https://, or on the machine itself."
    );
  }
  try {
    await crypto.subtle.importKey("pkcs8", concat(PKCS8_ED25519, new Uint8Array(32).fill(1)), "Ed25519", false, ["sign"]);
    return null;
  } catch {
    return "This browser cannot make Ed25519 signatures. Please update it: Chrome and Edge from 137, Firefox from 129, Safari from 17.";
  }
}

// ---- words -----------------------------------------------------------------------------------------

export const newEntropy = () => random(32);

/** The 24 words of 32 bytes. */
export async function phraseOf(entropy) {
  const bytes = concat(entropy, (await sha256(entropy)).slice(0, 1));
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, "0")).join("");
  return Array.from({ length: 24 }, (_, i) => words[parseInt(bits.slice(11 * i, 11 * i + 11), 2)]);
}

/** The 32 bytes of 24 words. */
export async function entropyOf(text) {
  const typed = text.trim().toLowerCase().split(/\s+/).filter(Boolean);
  if (typed.length !== 24) throw new Mistake(`There must be 24 words, these are ${typed.length}.`);
  const indices = typed.map((word) => words.indexOf(word));
  const unknown = indices.indexOf(-1);
  if (unknown >= 0) throw new Mistake(`Word ${unknown + 1} is not on the list of words: please check its spelling.`);
  const bits = indices.map((index) => index.toString(2).padStart(11, "0")).join("");
  const bytes = Uint8Array.from({ length: 33 }, (_, i) => parseInt(bits.slice(8 * i, 8 * i + 8), 2));
  const entropy = bytes.slice(0, 32);
  if ((await sha256(entropy))[0] !== bytes[32]) {
    throw new Mistake("These words do not belong together: one is wrong, or two are swapped.");
  }
  return entropy;
}

// ---- derivation ------------------------------------------------------------------------------------

export const accountPath = (account) => `m/44'/1'/${account}'`;

async function hmacSha512(key, message) {
  const imported = await crypto.subtle.importKey("raw", key, { name: "HMAC", hash: "SHA-512" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, message));
}

async function pbkdf2(password, salt, iterations, bits) {
  const key = await crypto.subtle.importKey("raw", password, "PBKDF2", false, ["deriveBits"]);
  const how = { name: "PBKDF2", hash: "SHA-512", salt, iterations };
  return new Uint8Array(await crypto.subtle.deriveBits(how, key, bits));
}

/** The key pair of an account: {publicKey, address, sign}. The private key can sign, but not be read. */
export async function keysOf(entropy, account) {
  const seed = await pbkdf2(utf8((await phraseOf(entropy)).join(" ")), utf8("mnemonic"), 2_048, 512);
  let node = await hmacSha512(utf8("ed25519 seed"), seed);
  for (const step of [44, 1, account]) {
    node = await hmacSha512(node.slice(32), concat(new Uint8Array(1), node.slice(0, 32), u32be(step + HARDENED)));
  }
  const pkcs8 = concat(PKCS8_ED25519, node.slice(0, 32));
  const readable = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", true, ["sign"]);
  const { x } = await crypto.subtle.exportKey("jwk", readable);
  const publicKey = unbase64(x.replaceAll("-", "+").replaceAll("_", "/").padEnd(44, "="));
  const key = await crypto.subtle.importKey("pkcs8", pkcs8, "Ed25519", false, ["sign"]);
  [seed, node, pkcs8].forEach((secret) => secret.fill(0));
  const sign = async (message) => new Uint8Array(await crypto.subtle.sign("Ed25519", key, message));
  return { publicKey, address: formatAddress(publicKey), sign };
}

// ---- the keystore file (docs/KEYSTORE.md) --------------------------------------------------------------

export function checkPassphrase(passphrase, repeated) {
  if (Array.from(passphrase).length < PASSPHRASE_CHARS_MIN) {
    throw new Mistake(`A passphrase has at least ${PASSPHRASE_CHARS_MIN} characters.`);
  }
  if (repeated !== undefined && passphrase !== repeated) throw new Mistake("The two passphrases differ.");
}

const authenticated = (address, account) => utf8(`shardpay-keystore/v1\n${address}\n${accountPath(account)}`);

async function cipherKey(passphrase, salt, iterations) {
  const bits = await pbkdf2(utf8(passphrase.normalize("NFKD")), salt, iterations, 256);
  return crypto.subtle.importKey("raw", bits, "AES-GCM", false, ["encrypt", "decrypt"]);
}

/** Encrypts 32 bytes of entropy under a passphrase; the JSON object of a keystore file. */
export async function seal(entropy, account, passphrase, salt = random(32), nonce = random(12)) {
  checkPassphrase(passphrase);
  const { address } = await keysOf(entropy, account);
  const key = await cipherKey(passphrase, salt, ITERATIONS);
  const how = { name: "AES-GCM", iv: nonce, additionalData: authenticated(address, account) };
  const ciphertext = new Uint8Array(await crypto.subtle.encrypt(how, key, entropy));
  return {
    format: "shardpay-keystore",
    version: 1,
    address,
    account,
    path: accountPath(account),
    kdf: { name: "PBKDF2-HMAC-SHA-512", iterations: ITERATIONS, salt: base64(salt) },
    cipher: { name: "AES-256-GCM", nonce: base64(nonce) },
    ciphertext: base64(ciphertext),
  };
}

const sameNames = (object, names) =>
  object !== null && typeof object === "object" && Object.keys(object).sort().join() === [...names].sort().join();

/** Checks a keystore file's text; the JSON object. */
export function readKeystore(text) {
  const foreign = () => new Mistake("This is not a keystore file of this wallet.");
  if (utf8(text).length > FILE_BYTES_MAX) throw foreign();
  let file;
  try {
    file = JSON.parse(text);
    const complete =
      sameNames(file, ["format", "version", "address", "account", "path", "kdf", "cipher", "ciphertext"]) &&
      sameNames(file.kdf, ["name", "iterations", "salt"]) &&
      sameNames(file.cipher, ["name", "nonce"]);
    const known =
      complete &&
      file.format === "shardpay-keystore" &&
      file.version === 1 &&
      file.kdf.name === "PBKDF2-HMAC-SHA-512" &&
      file.cipher.name === "AES-256-GCM" &&
      Number.isInteger(file.account) &&
      file.account >= 0 &&
      file.account < HARDENED &&
      file.path === accountPath(file.account);
    const sizes = known && unbase64(file.cipher.nonce).length === 12 && unbase64(file.ciphertext).length === 48;
    if (!sizes || file.address !== file.address.toLowerCase()) throw foreign();
    parseAddress(file.address);
  } catch (error) {
    throw error instanceof Mistake ? error : foreign();
  }
  const salt = unbase64(file.kdf.salt).length;
  if (!Number.isInteger(file.kdf.iterations) || file.kdf.iterations < ITERATIONS || salt < 16) {
    throw new Mistake("This keystore file is protected too weakly to be used.");
  }
  if (file.kdf.iterations > ITERATIONS_MAX || salt > 64) throw new Mistake("This keystore file would take for ever to open.");
  return file;
}

/** Decrypts a keystore; the 32 bytes of entropy. */
export async function open(file, passphrase) {
  const key = await cipherKey(passphrase, unbase64(file.kdf.salt), file.kdf.iterations);
  const how = { name: "AES-GCM", iv: unbase64(file.cipher.nonce), additionalData: authenticated(file.address, file.account) };
  let entropy;
  try {
    entropy = new Uint8Array(await crypto.subtle.decrypt(how, key, unbase64(file.ciphertext)));
  } catch {
    throw new Mistake("Wrong passphrase (or the keystore is damaged).");
  }
  if ((await keysOf(entropy, file.account)).address !== file.address) throw new Mistake("This keystore holds another key than it says.");
  return entropy;
}

// ---- transactions (docs/PROTOCOL.md, chapters 3.1 and 5) ---------------------------------------------

const SIGNED = utf8("shardpay/signed/v1\0");
const KIND_PAYMENT = 1;
const KIND_REDEEM = 2;

/** The signed transaction as it travels, hexadecimal. `chain` is hexadecimal, numbers are BigInt. */
async function signed(keys, chain, kind, body) {
  const encoded = concat(Uint8Array.of(kind), body);
  const message = concat(SIGNED, unhex(chain), encoded);
  return { transaction: hex(concat(encoded, await keys.sign(message))), signedBytes: hex(message), txid: hex(await sha256(message)) };
}

export function signPayment(keys, { chain, recipient, amount, sequence, validUntil, reference }) {
  const body = concat(keys.publicKey, recipient, u64le(amount), u64le(sequence), u64le(validUntil), reference);
  return signed(keys, chain, KIND_PAYMENT, body);
}

export function signRedeem(keys, { chain, amount, sequence, validUntil, payoutRef }) {
  return signed(keys, chain, KIND_REDEEM, concat(keys.publicKey, u64le(amount), u64le(sequence), u64le(validUntil), payoutRef));
}

/** What a redeem commits to: to which bank account the coins are paid out. */
export const payoutRef = (salt, iban, holder) =>
  sha256(concat(utf8("shardpay/payout/v1\0"), salt, utf8(iban), new Uint8Array(1), utf8(holder)));

/** Proves to the service that the user of this name holds the key. */
export const keyProof = async (keys, chain, name) =>
  hex(await keys.sign(concat(utf8("shardpay/service/key/v1\0"), unhex(chain), utf8(name))));

