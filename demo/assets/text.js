// Words, numbers and elements.

/** Makes an element: properties, then children; a property named `class` or `data-…` is an attribute. */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node && !name.includes("-")) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** Sets a text only when it changed: the browser then lays out nothing. */
export function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });
const cents = new Intl.NumberFormat("en-US", { maximumFractionDigits: 2 });

export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  value += 0; // no negative zero
  const size = Math.abs(value);
  return size >= 100 ? whole.format(value) : size >= 10 ? tenths.format(value) : cents.format(value);
}

/** 12,345 → 12 k. For small places. */
export function short(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 1e9) return `${number(value / 1e9)} G`;
  if (value >= 1e6) return `${number(value / 1e6)} M`;
  if (value >= 1e4) return `${number(value / 1e3)} k`;
  return number(value);
}

export function ms(value) {
  if (value === null || value === undefined) return "–";
  return value >= 1000 ? `${number(value / 1000)} s` : `${number(value)} ms`;
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  return value >= 1e9 ? `${number(value / 1e9)} GB` : `${number(value / 1e6)} MB`;
}

/** Micro-units as coins. */
export function coins(micros) {
  return number(micros / 1e6);
}

export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString("en-GB");
}

/** A panel with a heading and a sentence that says what it shows. */
export function panel(title, hint, ...children) {
  return el("section", { class: "panel" }, el("h2", {}, title), el("p", { class: "hint" }, hint), ...children);
}

/** Cards: a big number each. `set` takes texts by key. */
export function cards(list) {
  const values = {};
  const box = el("div", { class: "cards" });
  for (const [key, label, hint] of list) {
    values[key] = el("b", {}, "–");
    box.append(el("div", { class: "card", title: hint }, el("span", {}, label), values[key]));
  }
  const set = (texts) => {
    for (const [key, text] of Object.entries(texts)) put(values[key], text);
  };
  return { box, set };
}

/** A table whose rows are kept from one update to the next. Columns: [heading, left?]. */
export function table(columns) {
  const head = el("tr");
  for (const [heading, left] of columns) head.append(el("th", left ? { class: "left" } : {}, heading));
  const body = el("tbody");
  const box = el("div", { class: "scroll" }, el("table", {}, el("thead", {}, head), body));
  const set = (rows) => {
    while (body.rows.length > rows.length) body.deleteRow(-1);
    rows.forEach((cells, at) => {
      let row = body.rows[at];
      if (!row) {
        row = body.insertRow();
        columns.forEach(([, left]) => row.append(el("td", left ? { class: "left" } : {})));
      }
      cells.forEach((text, column) => put(row.cells[column], String(text)));
    });
  };
  return { box, body, set };
}
