// Where a payment's time goes.
import { COLOURS, chart, layout } from "./charts.js";
import { el, number, panel, table } from "./text.js";

export const title = "Pipeline";
export const hint = "A payment passes these stages in the node that its client sent it to. Times are means over the last five seconds, from one stage to the next; together they are the payment's way through the node.";

/** More committees than this are drawn without patterns. */
const PATTERNS_MAX = 16;
const WORDS = {
  received: "the client's bytes are read",
  verified: "its signature is checked",
  proposed: "it waits for the node's next block",
  committed: "the committee agrees on the order",
  executed: "it is carried out",
  certified: "a quorum signs the result",
  notified: "clients are told",
};

export function build(root, state) {
  const bars = chart(true);
  const stages = state.mode?.stages ?? Object.keys(WORDS);
  const means = table([["committee", true], ...stages.map((stage) => [stage]), ["sum"]]);
  const worst = table([["committee", true], ...stages.map((stage) => [stage])]);
  const legend = el("p", { class: "hint" }, stages.map((stage) => `${stage}: ${WORDS[stage] ?? stage}`).join(" · "));
  root.append(
    panel("Mean time by stage, per committee", "Hover over a part to see its share.", bars.node, legend),
    panel("Mean, ms", "Sum ÷ count over all members, last five seconds. Stages of payments in flight are sampled.", means.box),
    panel("99th percentile, ms", "Of the member with the highest one; percentiles of stages must not be added up.", worst.box),
  );
  return { update: ({ frame }) => update(frame, stages, { bars, means, worst }) };
}

function update({ committees }, stages, { bars, means, worst }) {
  const cell = (stage, at) => (stage ? number(stage[at]) : "–");
  const sum = (one) => one.stages.reduce((total, stage) => total + (stage ? stage[0] : 0), 0);
  means.set(committees.map((one) => [one.id, ...one.stages.map((stage) => cell(stage, 0)), number(sum(one))]));
  worst.set(committees.map((one) => [one.id, ...one.stages.map((stage) => cell(stage, 1))]));
  const names = committees.map(({ id }) => `committee ${id}`);
  // patterns are dear to draw: of many committees the bars are too thin for them anyway
  const shapes = committees.length > PATTERNS_MAX ? [] : ["", "/", "", "\\", "", "x", ""];
  bars.draw(() => ({
    data: stages.map((stage, at) => ({
      type: "bar", orientation: "h", name: stage, y: names, x: committees.map((one) => one.stages[at]?.[0] ?? 0),
      marker: { color: COLOURS[at], pattern: { shape: shapes[at] ?? "", fillmode: "overlay", fgcolor: "#ffffff", fgopacity: 0.55, size: 8 } },
      hovertemplate: `%{y}, ${stage}: %{x:,.2f} ms<extra></extra>`,
    })),
    layout: layout({
      barmode: "stack", legend: { orientation: "h", y: 1.1, x: 0, traceorder: "normal" },
      xaxis: { title: { text: "milliseconds" }, rangemode: "tozero" }, yaxis: { type: "category", autorange: "reversed", nticks: 24 },
    }),
  }));
}
