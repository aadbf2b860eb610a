// Hundreds of nodes at a glance, and one of them in detail.
import { OVER_TIME, chart, layout, line } from "./charts.js";
import { bytes, clock, el, number, panel, put, short, table } from "./text.js";

export const title = "Nodes";
export const hint = "Each cell is a node, named committee-member; the darker, the more. A crossed-out cell is a node that is not heard. Click one to see it in detail.";

const MEASURES = {
  cpu: ["CPU", (node) => node.cpu, (value) => `${number(value * 100)} %`, 0.2],
  load: ["payments put into blocks per second", (node) => node.load, short, 10],
  memory: ["memory", (node) => node.memory, bytes, 1e8],
  mempool: ["payments in the mempool", (node) => node.mempool, short, 100],
  queued: ["work in queues", (node) => node.queued, short, 100],
  lag: ["blocks behind its committee", (node) => node.lag, short, 10],
  height: ["block height", (node) => node.height, short, 1],
};

export function build(root, state) {
  const choice = el("select", { id: "measure" });
  for (const [key, [label]] of Object.entries(MEASURES)) choice.append(el("option", { value: key }, label));
  const scale = el("span");
  const grid = el("div", { id: "node-grid" });
  const detail = el("div", { id: "node-detail" });
  root.append(
    el("div", { class: "controls" }, el("label", {}, "Colour by ", choice), el("span", {}, "0", el("span", { class: "legend" }), scale)),
    el("section", { class: "panel" }, grid),
    detail,
  );
  const view = { choice, scale, grid, cells: new Map(), rows: new Map(), detail: one(detail) };
  choice.onchange = () => update(state, view);
  return { update: (now) => update(now, view) };
}

function update({ frame, argument, live }, view) {
  const [, of, format, least] = MEASURES[view.choice.value];
  const { nodes } = frame;
  view.grid.classList.toggle("small", nodes.length > 128);
  const most = Math.max(least, ...nodes.filter((node) => node.up).map(of));
  put(view.scale, format(most));
  for (const node of nodes) {
    const cell = view.cells.get(node.name) ?? add(view, node);
    const value = of(node);
    const share = node.up ? Math.sqrt(value / most) : 0;
    const shown = Math.round(share * 32) / 32;
    put(cell.lastChild, node.up ? format(value) : "down");
    if (cell.shown !== shown || cell.up !== node.up) {
      Object.assign(cell, { shown, up: node.up });
      cell.className = `cell${node.up ? "" : " down"}${shown > 0.6 ? " deep" : ""}`;
      // the colour lies between the theme's two
      cell.style.background = `color-mix(in srgb, rgb(var(--cell-1)) ${shown * 100}%, rgb(var(--cell-0)))`;
    }
    const pressed = String(node.name === argument);
    if (cell.getAttribute("aria-pressed") !== pressed) cell.setAttribute("aria-pressed", pressed);
  }
  const node = nodes.find(({ name }) => name === argument);
  view.detail.show(node, live ? null : frame.t);
}

function add(view, node) {
  let row = view.rows.get(node.committee);
  if (!row) {
    row = el("div", { class: "cells" });
    view.rows.set(node.committee, row);
    view.grid.append(el("div", { class: "row-head" }, el("span", {}, `committee ${node.committee}`), row));
  }
  const cell = el("button", { class: "cell", type: "button", "aria-pressed": "false" }, el("b", {}, node.name), el("span"));
  cell.onclick = () => {
    location.hash = `#/nodes/${encodeURIComponent(node.name)}`;
  };
  view.cells.set(node.name, cell);
  row.append(cell);
  return cell;
}

/** The panel of one node. */
function one(root) {
  const facts = table([["", true], ["", true]]);
  const charts = el("div", { class: "small-charts" });
  const events = table([["time", true], ["kind", true], ["task event", true]]);
  events.box.firstChild.className = "log";
  events.box.classList.add("recent");
  const metrics = table([["metric", true], ["last value"], ["now (counters: per second)"]]);
  const all = el("details", {}, el("summary", {}, "All metrics"), metrics.box);
  const heading = el("h2", {}, "");
  const box = el("section", { class: "panel", hidden: true }, heading, facts.box, charts,
    el("h2", {}, "Last task events"), events.box, all);
  const none = el("p", { class: "hint" }, "No node is chosen.");
  root.append(none, box);
  const drawn = [];
  let name = null;
  let busy = false;
  let asked = 0;
  let latest = [];

  // hundreds of rows: only for who looks at them
  const list = () => all.open && metrics.set(latest.map(([metric, last, now]) => [metric, number(last), number(now)]));
  all.ontoggle = list;

  const fetched = (detail) => {
    detail.charts.forEach((wanted, at) => {
      if (!drawn[at]) {
        drawn[at] = chart();
        charts.append(el("div", {}, el("h2", {}, `${wanted.title}, ${wanted.unit}`), drawn[at].node));
      }
      drawn[at].draw(() => {
        const shift = new Date().getTimezoneOffset() * 60;
        const x = detail.times.map((t) => (t - shift) * 1000);
        const data = wanted.lines.map(({ label, values }, index) => ({ ...line(label, x, values, index), connectgaps: true }));
        // the legend stands above the lines, two entries in a row
        const rows = wanted.lines.length > 1 ? Math.ceil(wanted.lines.length / 2) : 0;
        const legend = { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", entrywidth: 0.48, entrywidthmode: "fraction", font: { size: 11 } };
        return { data, layout: layout({ xaxis: { ...OVER_TIME, nticks: 4 }, showlegend: wanted.lines.length > 1, legend, margin: { l: 44, r: 8, t: 12 + 20 * rows, b: 26 } }) };
      });
    });
    events.set(detail.events.map(([at, kind, text]) => [clock(at), kind, text]));
    latest = detail.metrics;
    list();
  };

  const show = async (node, at) => {
    none.hidden = Boolean(node);
    box.hidden = !node;
    if (!node) return void (name = null);
    put(heading, `Node ${node.name}: ${node.up ? "up" : `down, not heard for ${number(node.silent_s)} s`}`);
    heading.className = node.up ? "up-text" : "down-text";
    const now = (text) => (node.up ? text : "not known while it is down");
    facts.set([
      [node.up ? "current task" : "last task", node.task || "–"],
      ["height, lag, round", now(`${number(node.height)}, ${number(node.lag)} behind its committee, round ${number(node.round)}`)],
      ["CPU, memory", now(`${number(node.cpu * 100)} % of a core, ${bytes(node.memory)}`)],
      ["payments", now(`${number(node.load)} per second put into blocks, ${number(node.mempool)} in the mempool, ${number(node.queued)} in queues`)],
    ]);
    // once in two seconds is enough for its past
    const fresh = name === node.name && at === null && performance.now() - asked < 1900;
    if (busy || fresh) return;
    [name, asked, busy] = [node.name, performance.now(), true];
    try {
      const response = await fetch(`/api/node?name=${encodeURIComponent(node.name)}${at === null ? "" : `&at=${at}`}`);
      if (response.ok) fetched(await response.json());
    } catch {
      // the connection's own mark tells
    } finally {
      busy = false;
    }
  };
  return { show };
}
