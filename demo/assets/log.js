// What servers say they do.
import { clock, el, put } from "./text.js";

export const title = "Task log";
export const hint = "What servers say they do, the newest first. Nodes tell of a block at most twice a second.";

const SHOWN_MAX = 250;
/** Rows made in one go. */
const NEW_ROWS_MAX = 60;
/** Node 10 comes after node 9. */
const ORDER = new Intl.Collator("en", { numeric: true });

export function build(root) {
  const choice = (label, first) => {
    const select = el("select", {}, el("option", { value: "" }, first));
    return { select, box: el("label", {}, `${label} `, select), known: new Set() };
  };
  const server = choice("Server", "all");
  const committee = choice("Committee", "all");
  const kind = choice("Kind", "all");
  const search = el("input", { type: "search", placeholder: "search", id: "log-search", "aria-label": "Search" });
  const pause = el("button", { type: "button", id: "log-pause" }, "pause");
  const count = el("span", { class: "hint" });
  const body = el("tbody");
  root.append(
    el("div", { class: "controls" }, server.box, committee.box, kind.box, search, pause, count),
    el("section", { class: "panel" }, el("table", { class: "log" }, body)),
  );
  let paused = null;
  let state = null;
  const redraw = () => state && draw();
  pause.onclick = () => {
    paused = paused ? null : state.events;
    put(pause, paused ? "continue" : "pause");
    redraw();
  };
  for (const input of [server.select, committee.select, kind.select]) input.onchange = redraw;
  search.oninput = redraw;

  function learn(field, value) {
    if (value === null || field.known.has(String(value))) return;
    field.known.add(String(value));
    const place = [...field.select.options].slice(1).find((option) => ORDER.compare(option.value, String(value)) > 0);
    field.select.add(el("option", { value: String(value) }, String(value)), place ?? null);
  }

  function draw() {
    const events = paused ?? state.events;
    for (const [, , name, , of, what] of events) {
      learn(server, name);
      learn(committee, of);
      learn(kind, what);
    }
    const words = search.value.trim().toLowerCase();
    const wanted = ([, , name, , of, what, text]) =>
      (!server.select.value || name === server.select.value) &&
      (!committee.select.value || String(of) === committee.select.value) &&
      (!kind.select.value || what === kind.select.value) &&
      (!words || `${name} ${text}`.toLowerCase().includes(words));
    const found = events.filter(wanted);
    const room = Math.min(SHOWN_MAX, body.rows.length + NEW_ROWS_MAX);
    const shown = found.slice(-room).reverse();
    if (found.length > room && room < SHOWN_MAX) setTimeout(redraw, 0);
    put(count, `${found.length} of ${events.length} events${paused ? ", paused" : ""}`);
    while (body.rows.length > shown.length) body.deleteRow(-1);
    shown.forEach(([, at, name, , , what, text], index) => {
      const row = body.rows[index] ?? body.appendChild(el("tr", {}, el("td"), el("td"), el("td", {}, el("span")), el("td")));
      put(row.cells[0], clock(at));
      put(row.cells[1], name);
      const mark = row.cells[2].firstChild;
      if (mark.textContent !== what) {
        mark.textContent = what;
        mark.className = `kind ${what}`;
      }
      put(row.cells[3], text);
    });
  }

  return {
    update: (now) => {
      state = now;
      if (!paused) draw();
    },
  };
}
