// Charts by Plotly: one look, and never two drawn in one task, so that the page stays smooth.

/** Okabe and Ito's colours, which people with any colour vision tell apart. */
export const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C8C8C", "#B8A800"];
const DASHES = ["solid", "dash", "dot", "dashdot"];
const CONFIG = { displayModeBar: false, responsive: false, displaylogo: false };

let loading;
/** Loads Plotly once; the page is there before. */
export function load() {
  loading ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = "/assets/plotly.min.js";
    script.onload = done;
    script.onerror = () => failed(new Error("plotly.min.js is not served"));
    document.head.append(script);
  });
  return loading;
}

const waiting = new Map();
let drawing = false;

/** Draws one chart after the other, each in a task of its own; of one chart the latest wish counts. */
async function work() {
  drawing = true;
  try {
    await load();
    while (waiting.size > 0) {
      const [chart, wish] = waiting.entries().next().value;
      waiting.delete(chart);
      if (chart.isConnected) {
        const { data, layout } = wish();
        await window.Plotly.react(chart, data, layout, CONFIG);
      }
      await new Promise((next) => setTimeout(next, 12));
    }
  } finally {
    drawing = false;
  }
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function layout(more = {}) {
  const ink = colour("--ink");
  const line = colour("--line");
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, fixedrange: true };
  const { xaxis, yaxis, ...rest } = more;
  return {
    autosize: true,
    margin: { l: 52, r: 12, t: 8, b: 34 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink, family: 'system-ui, "DejaVu Sans", sans-serif', size: 12 },
    legend: { orientation: "h", y: 1.14, x: 0, font: { size: 12 } },
    hovermode: "closest",
    uirevision: "same",
    xaxis: { ...axis, ...xaxis },
    yaxis: { ...axis, rangemode: "tozero", ...yaxis },
    ...rest,
  };
}

/** A chart; `make` gives Plotly's data and layout when it is drawn. */
export function chart(tall = false) {
  const node = document.createElement("div");
  node.className = tall ? "chart tall" : "chart";
  const draw = (make) => {
    waiting.set(node, make);
    if (!drawing) work();
  };
  return { node, draw };
}

/** Times of rows, for an axis that shows the clock on the wall. */
export function times(rows) {
  const shift = new Date().getTimezoneOffset() * 60;
  return rows.map((row) => (row.t - shift) * 1000);
}

/** A line over time. */
export function line(name, x, y, index) {
  return {
    type: "scatter", mode: "lines", name, x, y, connectgaps: false,
    line: { color: COLOURS[index % COLOURS.length], width: 2, dash: DASHES[Math.floor(index / COLOURS.length) % 4] },
    hovertemplate: `${name}: %{y:,.4~r}<extra></extra>`,
  };
}

export const OVER_TIME = { type: "date", tickformat: "%H:%M:%S", nticks: 6, hoverformat: "%H:%M:%S" };

/** Every nth row, so that a chart has at most so many points. */
export function thin(rows, most = 300) {
  if (rows.length <= most) return rows;
  const step = Math.ceil(rows.length / most);
  // the same rows stay from one second to the next
  const first = Math.round(rows[0].t) % step;
  return rows.filter((row, at) => (at + first) % step === 0 || at === rows.length - 1);
}
