// The page: which view is shown, where data comes from, and what happens when it stops coming.
import { load } from "./charts.js";
import { clock, el, number, put, short } from "./text.js";
import * as overview from "./overview.js";
import * as committees from "./committees.js";
import * as nodes from "./nodes.js";
import * as pipeline from "./pipeline.js";
import * as services from "./services.js";
import * as log from "./log.js";

const PAGES = { overview, committees, nodes, pipeline, services, log };
const SILENCE_MAX_MS = 6000;
const LOG_MAX = 3000;

/** What views draw: the latest frame, rows of the past, task events. */
const state = { mode: null, frame: null, rows: [], events: [], logEnd: 0, live: true, argument: "" };
const place = (id) => document.getElementById(id);
let page = null;
let source = null;
let heardAt = 0;
let fetching = false;

async function json(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

// ---- which page ----

function route() {
  const [, name = "overview", argument = ""] = location.hash.split("/");
  const wanted = PAGES[name] ? name : "overview";
  state.argument = decodeURIComponent(argument);
  for (const link of place("nav").children) {
    if (link.dataset.page === wanted) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (page?.name !== wanted) {
    const root = el("div", {}, el("h1", {}, PAGES[wanted].title), el("p", { class: "hint" }, PAGES[wanted].hint));
    page = { name: wanted, view: PAGES[wanted].build(root, state) };
    place("main").replaceChildren(root);
    document.title = `shardpay: ${PAGES[wanted].title.toLowerCase()}`;
    if (state.mode) events();
  }
  show();
}

/** Draws the current page and what stands around it. */
function show() {
  const { frame } = state;
  if (!frame || !page) return;
  const alarms = frame.alarms.length;
  place("alarm-count").hidden = alarms === 0;
  put(place("alarm-count"), `${alarms} ${alarms === 1 ? "alarm" : "alarms"}`);
  const { points, bytes: room, not_kept: lost, bad_lines: bad } = frame.intake;
  const trouble = lost + bad > 0 ? `, ${number(lost)} values not kept, ${number(bad)} lines unreadable` : "";
  put(place("intake"), `${short(points)} points received, window of ${number(room / 1e6)} MB${trouble}.`);
  page.view.update(state);
}

// ---- live ----

function append(row) {
  const last = state.rows.at(-1);
  if (last && row.t <= last.t) return;
  state.rows.push(row);
  const oldest = row.t - state.mode.window_s;
  while (state.rows.length && state.rows[0].t < oldest) state.rows.shift();
}

async function events() {
  // only these pages show task events
  if (fetching || (page?.name !== "log" && page?.name !== "overview")) return;
  fetching = true;
  try {
    const limit = page.name === "log" ? 2000 : 30;
    const until = state.live ? "" : `&until=${state.frame.t}`;
    const after = state.live ? state.logEnd : 0;
    const found = await json(`/api/events?after=${after}&limit=${limit}${until}`);
    state.events = state.live && found.end >= state.logEnd ? [...state.events, ...found.events].slice(-LOG_MAX) : found.events;
    state.logEnd = found.end;
  } finally {
    fetching = false;
  }
}

function received(text) {
  state.frame = JSON.parse(text);
  heardAt = performance.now();
  append(state.frame.row);
  const mark = place("state");
  mark.className = "state live";
  put(mark, `live, ${clock(state.frame.t)}`);
  if (state.frame.log_end < state.logEnd) Object.assign(state, { logEnd: 0, events: [] });
  if (state.frame.log_end > state.logEnd) events().then(show, () => {});
  else show();
}

async function connect() {
  source?.close();
  heardAt = performance.now();
  try {
    state.mode = await json("/api/mode");
    if (state.mode.replay) return replay();
    state.rows = await json("/api/history");
    Object.assign(state, { events: [], logEnd: 0 });
  } catch {
    return lost();
  }
  source = new EventSource("/api/stream");
  source.onmessage = (message) => received(message.data);
  source.onerror = lost;
}

function lost() {
  const mark = place("state");
  mark.className = "state lost";
  put(mark, state.frame ? `no connection since ${clock(state.frame.t)}, trying again` : "no connection, trying again");
}

/** The browser reconnects by itself, but not from everything, and it does not ask for what was missed. */
function watch() {
  if (!state.live) return;
  if (performance.now() - heardAt > SILENCE_MAX_MS) {
    lost();
    connect();
  }
}

// ---- a finished run ----

function replay() {
  const { replay: run } = state.mode;
  state.live = false;
  const slider = place("slider");
  Object.assign(slider, { min: run.from + run.slot_s, max: run.to, step: run.slot_s, value: run.from + run.slot_s });
  place("replay").hidden = false;
  const mark = place("state");
  mark.className = "state";
  put(mark, `replay of ${run.name}`);
  if (run.summary) {
    const passed = run.summary.verdict_passed;
    place("verdict").className = passed ? "up-text" : "down-text";
    put(place("verdict"), passed ? "verdict: pass" : "verdict: FAIL");
  }
  let all = [];
  let busy = false;
  let again = false;
  const jump = async () => {
    if (busy) return void (again = true);
    busy = true;
    do {
      again = false;
      const at = Number(slider.value);
      put(place("moment"), `${clock(at)} (${number(at - run.from)} of ${number(run.to - run.from)} s)`);
      state.frame = await json(`/api/frame?at=${at}`);
      state.rows = all.filter((row) => row.t <= at + 0.001);
      await events();
      show();
    } while (again);
    busy = false;
  };
  let playing = null;
  const stop = () => {
    clearInterval(playing);
    playing = null;
    put(place("play"), "▶ play");
  };
  place("play").onclick = () => {
    if (playing) return stop();
    if (Number(slider.value) >= run.to - run.slot_s / 2) slider.value = run.from + run.slot_s;
    put(place("play"), "❚❚ pause");
    playing = setInterval(() => {
      slider.value = Number(slider.value) + run.slot_s;
      if (Number(slider.value) >= run.to - run.slot_s / 2) stop();
      jump();
    }, 500);
  };
  slider.oninput = () => {
    stop();
    jump();
  };
  json("/api/history").then((rows) => {
    all = rows;
    slider.value = run.to;
    return jump();
  });
}

// ---- start ----

function theme(name) {
  document.documentElement.dataset.theme = name;
  show();
}

function start() {
  for (const [name, module] of Object.entries(PAGES)) {
    place("nav").append(el("a", { href: `#/${name}`, "data-page": name }, module.title));
  }
  const preferred = localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  theme(preferred);
  place("theme").onclick = () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    localStorage.setItem("theme", next);
    theme(next);
  };
  let before = null;
  addEventListener("beforeprint", () => {
    before = document.documentElement.dataset.theme;
    theme("light");
  });
  addEventListener("afterprint", () => before && theme(before));
  addEventListener("hashchange", route);
  let sized;
  addEventListener("resize", () => {
    clearTimeout(sized);
    sized = setTimeout(() => {
      for (const chart of document.querySelectorAll(".js-plotly-plot")) window.Plotly?.Plots.resize(chart);
    }, 200);
  });
  route();
  connect();
  load();
  setInterval(watch, 2000);
}

start();
