// Small helpers for pages: elements, forms with errors next to the field, steps with milliseconds.

import { Refused, REASONS } from "./api.js";
import { Mistake } from "./text.js";

export const $ = (selector, root = document) => root.querySelector(selector);

/** An element; strings become text, never markup. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const show = (element, shown = true) => element.toggleAttribute("hidden", !shown);

/** A mistake that belongs to one field of a form. */
export class FieldMistake extends Mistake {
  constructor(field, message) {
    super(message);
    this.field = field;
  }
}

/** Runs `read`; a mistake in it is shown at `field`. */
export function at(field, read) {
  try {
    return read();
  } catch (error) {
    throw error instanceof Mistake ? new FieldMistake(field, error.message) : error;
  }
}

export async function atAsync(field, read) {
  try {
    return await read();
  } catch (error) {
    throw error instanceof Mistake ? new FieldMistake(field, error.message) : error;
  }
}

function clearErrors(form) {
  form.querySelectorAll(".error").forEach((error) => error.remove());
  form.querySelectorAll("[aria-invalid]").forEach((input) => {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-errormessage");
  });
}

function showError(form, field, message) {
  const input = field ? form.elements[field] : null;
  const id = `${form.id}-${field ?? "form"}-error`;
  const error = el("p", { class: "error", id, role: "alert" }, message);
  if (input instanceof HTMLElement && !input.closest("[hidden]")) {
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-errormessage", id);
    (input.closest("label") ?? input).append(error);
    input.focus();
  } else {
    form.append(error);
  }
}

/**
 * Handles a form: one submission at a time, errors next to the field they are about. `fields` maps the
 * API's field names to the form's.
 */
export function onSubmit(form, handle, fields = {}) {
  form.noValidate = true;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = event.submitter ?? $("button[type=submit], button:not([type])", form);
    if (form.dataset.busy) return;
    form.dataset.busy = "yes";
    clearErrors(form);
    button.disabled = true;
    try {
      const empty = Array.from(form.elements).find((input) => input.required && !input.closest("[hidden]") && !input.value.trim());
      if (empty) throw new FieldMistake(empty.name, "Please fill this in.");
      await handle(new FormData(form), form);
    } catch (error) {
      if (error instanceof FieldMistake) showError(form, error.field, error.message);
      else if (error instanceof Refused) showError(form, fields[error.field] ?? fields[error.code] ?? (error.field in form.elements ? error.field : null), error.message);
      else if (error instanceof Mistake) showError(form, null, error.message);
      else {
        console.error(error);
        showError(form, null, `Something went wrong in this page: ${error.message}`);
      }
    } finally {
      delete form.dataset.busy;
      button.disabled = false;
    }
  });
}

/** Without the means to sign, says why, and takes nothing that would have to be signed. */
export function sayUnable(why) {
  if (!why) return;
  $("#unable").textContent = why;
  show($("#unable"));
  document.querySelectorAll("[data-signs] button").forEach((button) => (button.disabled = true));
}

/** A list of steps, each with the milliseconds since the start. */
export class Steps {
  constructor(container, title) {
    this.list = el("ol", { class: "steps" });
    this.start = performance.now();
    this.seen = new Set();
    container.replaceChildren(el("h2", {}, title), this.list);
  }

  /** Adds a step once; `kind` is "", "good" or "bad". */
  add(name, text, kind = "") {
    if (this.seen.has(name)) return;
    this.seen.add(name);
    const ms = Math.round(performance.now() - this.start);
    this.list.append(el("li", { class: kind, "data-step": name }, el("span", {}, text), el("time", {}, `${ms} ms`)));
  }
}

export const reason = (code) => REASONS[code] ?? (code ? code.replaceAll("_", " ") : "");

export const when = (us) => (us ? new Date(Number(us) / 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "medium" }) : "");

export function download(name, text, type = "application/json") {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 1_000);
}

export const qr = (text) => el("img", { class: "qr", src: `/v1/qr.svg?text=${encodeURIComponent(text)}`, alt: "QR code with the same contents as the text beside it", width: 200, height: 200 });

export function copyButton(text) {
  const button = el("button", { type: "button", class: "quiet" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(typeof text === "function" ? text() : text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Please copy by hand";
    }
    setTimeout(() => (button.textContent = "Copy"), 2_000);
  });
  return button;
}
