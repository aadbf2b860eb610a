// What people type, scan and copy: addresses (bech32m), amounts, references, payment links, IBANs.
// The same rules as the Rust crate `keystore`; docs/vectors/keystore.json holds both to them.

import { concat, hex, unhex, utf8 } from "./bytes.js";

/** Something a person wrote that cannot be used; the text says why in plain words. */
export class Mistake extends Error {}

// ---- addresses -------------------------------------------------------------------------------------

const PREFIX = "shard";
const ADDRESS_CHARS = 64;
const CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const BECH32M = 0x2bc830a3;

function polymod(values) {
  const generators = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3];
  let checksum = 1;
  for (const value of values) {
    const top = checksum >>> 25;
    checksum = ((checksum & 0x1ffffff) << 5) ^ value;
    generators.forEach((generator, i) => {
      if ((top >>> i) & 1) checksum ^= generator;
    });
  }
  return checksum >>> 0;
}

const expandedPrefix = [
  ...Array.from(PREFIX, (char) => char.charCodeAt(0) >> 5),
  0,
  ...Array.from(PREFIX, (char) => char.charCodeAt(0) & 31),
];

// Cuts bits anew: 8 to 5 when writing, 5 to 8 when reading.
function regroup(values, from, to, pad) {
  let bits = 0;
  let buffer = 0;
  const out = [];
  for (const value of values) {
    buffer = ((buffer << from) | value) & 0xfff;
    bits += from;
    while (bits >= to) {
      bits -= to;
      out.push((buffer >> bits) & ((1 << to) - 1));
    }
  }
  const rest = buffer & ((1 << bits) - 1);
  if (pad && bits > 0) out.push((rest << (to - bits)) & ((1 << to) - 1));
  if (!pad && rest !== 0) throw new Mistake("This address is mistyped.");
  return out;
}

/** The address of a public key (32 bytes). */
export function formatAddress(key) {
  const data = regroup(key, 8, 5, true);
  const checksum = polymod([...expandedPrefix, ...data, 0, 0, 0, 0, 0, 0]) ^ BECH32M;
  const tail = Array.from({ length: 6 }, (_, i) => (checksum >>> (5 * (5 - i))) & 31);
  return PREFIX + "1" + [...data, ...tail].map((value) => CHARSET[value]).join("");
}

/** The public key of an address. */
export function parseAddress(text) {
  if (text.length !== ADDRESS_CHARS) {
    throw new Mistake(`An address has ${ADDRESS_CHARS} characters, this has ${text.length}.`);
  }
  const lower = text.toLowerCase();
  if (text !== lower && text !== text.toUpperCase()) throw new Mistake("An address is never part capitals, part small.");
  if (!lower.startsWith(PREFIX + "1")) throw new Mistake(`An address starts with ${PREFIX}1.`);
  const values = Array.from(lower.slice(PREFIX.length + 1), (char) => CHARSET.indexOf(char));
  if (values.includes(-1)) throw new Mistake("This address contains a character that no address has.");
  if (polymod([...expandedPrefix, ...values]) !== BECH32M) throw new Mistake("This address is mistyped: please copy it again.");
  return Uint8Array.from(regroup(values.slice(0, -6), 5, 8, false));
}

export const shortAddress = (address) => (address ? `${address.slice(0, 12)}…${address.slice(-6)}` : "");

// ---- amounts: millionths in a BigInt, decimal strings outside ----------------------------------------

/** Millionths of a coin. */
export function parseAmount(text) {
  const parts = /^(\d{1,14})(?:\.(\d+))?$/.exec(text.trim().replace(",", "."));
  if (!parts) throw new Mistake("Please write the amount with digits, like 12.50.");
  if ((parts[2] ?? "").length > 6) throw new Mistake("At most six digits after the point.");
  const micros = BigInt(parts[1]) * 1_000_000n + BigInt((parts[2] ?? "").padEnd(6, "0"));
  if (micros >= 1n << 64n) throw new Mistake("This amount is too large.");
  return micros;
}

/** A positive amount; of whole cents when it goes over a card or a bank. */
export function parsePositive(text, { cents = false } = {}) {
  const micros = parseAmount(text);
  if (micros === 0n) throw new Mistake("The amount must be more than nothing.");
  if (cents && micros % 10_000n !== 0n) throw new Mistake("Cards and banks know whole cents only.");
  return micros;
}

export const formatAmount = (micros) => `${micros / 1_000_000n}.${(micros % 1_000_000n).toString().padStart(6, "0")}`;

/** For reading: at least two places, no needless zeros. Takes the API's decimal strings. */
export function euros(decimal) {
  const [whole, places = ""] = String(decimal ?? "0").split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, "\u202f");
  return `${grouped}.${places.replace(/0+$/, "").padEnd(2, "0")}\u00a0€`;
}

// ---- references and payment links --------------------------------------------------------------------

/** 16 bytes: a short note, or 32 hexadecimal digits. */
export function parseReference(text) {
  if (/^[0-9a-f]{32}$/i.test(text)) return unhex(text);
  const bytes = utf8(text);
  if (bytes.length > 16) throw new Mistake("A note has at most 16 characters (letters with accents count twice).");
  if (/\p{Cc}/u.test(text)) throw new Mistake("A note cannot contain control characters.");
  return concat(bytes, new Uint8Array(16 - bytes.length));
}

export function referenceText(bytes) {
  const end = bytes.findLastIndex((byte) => byte !== 0) + 1;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes.slice(0, end));
    if (!/\p{Cc}/u.test(text)) return text;
  } catch {
    // not text
  }
  return hex(bytes);
}

/** {key, amount: millionths or null, reference: 16 bytes or null} of a shardpay: link. */
export function parseLink(text) {
  const parts = /^shardpay:([^?]*)(?:\?(.*))?$/i.exec(text);
  if (!parts || text.length > 512) throw new Mistake("A payment link starts with shardpay:");
  const link = { key: parseAddress(parts[1]), amount: null, reference: null };
  for (const parameter of parts[2] === undefined ? [] : parts[2].split("&")) {
    const [name, value = ""] = parameter.split(/=(.*)/s);
    if (!(name === "amount" || name === "reference")) throw new Mistake("This link asks for something this wallet does not know.");
    if (link[name] !== null) throw new Mistake(`This link names the ${name} twice.`);
    if (name === "amount") {
      link.amount = parseAmount(value);
    } else {
      try {
        link.reference = parseReference(decodeURIComponent(value));
      } catch (error) {
        throw error instanceof Mistake ? error : new Mistake("This link is damaged.");
      }
    }
  }
  return link;
}

export function formatLink({ key, amount, reference }) {
  const encoded = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  const parameters = [];
  if (amount !== null) parameters.push(`amount=${formatAmount(amount)}`);
  if (reference !== null) parameters.push(`reference=${encoded(referenceText(reference))}`);
  return `shardpay:${formatAddress(key)}${parameters.length ? "?" : ""}${parameters.join("&")}`;
}

// ---- bank details --------------------------------------------------------------------------------------

export function parseIban(text) {
  const iban = text.replace(/\s/g, "").toUpperCase();
  if (!/^[A-Z]{2}\d{2}[A-Z0-9]{8,30}$/.test(iban)) throw new Mistake("An IBAN looks like DE89 3704 0044 0532 0130 00.");
  const digits = (iban.slice(4) + iban.slice(0, 4)).replace(/[A-Z]/g, (char) => String(char.charCodeAt(0) - 55));
  if (BigInt(digits) % 97n !== 1n) throw new Mistake("This IBAN is mistyped: its check digits do not fit.");
  return iban;
}

export function parseHolder(text) {
  const holder = text.trim();
  if (!/^[A-Za-z0-9/\-?:().,'+ ]{1,70}$/.test(holder)) {
    throw new Mistake("The bank takes plain letters, digits and / - ? : ( ) . , ' + here, 70 at most.");
  }
  return holder;
}

