// The whole system at a glance.
import { OVER_TIME, chart, layout, line, thin, times } from "./charts.js";
import { cards, clock, coins, el, ms, number, panel, put } from "./text.js";

export const title = "Overview";
export const hint = "Committees of nodes keep the accounts; each committee decides the payments of its own payers. A payment is certified when a quorum of its committee signed the block that holds it.";

const PHASES = ["registering nodes", "making the first plan", "running", "closing an epoch", "handing over"];
const pair = (values) => (values ? `${ms(values[0])} / ${ms(values[1])}` : "–");

export function build(root) {
  const figures = cards([
    ["certified", "Payments certified per second", "Over all committees, as their nodes count them"],
    ["offered", "Payments offered per second", "What load generators want to send"],
    ["intra", "Latency inside a committee", "Median and 99th percentile, from the intended time of sending to the certificate"],
    ["cross", "Latency between committees", "The same, to the certified credit at the payee's committee"],
    ["nodes", "Nodes up", "A node that is not heard for 2.5 seconds is down"],
    ["epoch", "Epoch and phase", "As the signaler says"],
    ["supply", "Coins in existence", "Minted less redeemed; must stay the same unless coins are bought or cashed out"],
    ["payments", "Payments in flight", "Sent by the load generators, not certified yet"],
    ["flight", "Coins between committees", "Debited at the payer's committee, not credited yet at the payee's"],
  ]);
  const alarms = el("ul", { class: "alarms", id: "alarms" });
  const alarmPanel = panel("Alarms", "What somebody should look at now.", alarms);
  const load = chart();
  const latency = chart();
  const tasks = el("ul", { class: "alarms" });
  root.append(
    figures.box,
    alarmPanel,
    el("div", { class: "grid" },
      panel("Payments per second", "Offered by the load generators, and certified by the committees.", load.node),
      panel("Latency", "From the intended time of sending to the certificate, each second. Dashed: 99th percentile.", latency.node)),
    panel("Latest task events", "What servers said they do; all of it is in the task log.", tasks),
  );
  return { update: (state) => update(state, { figures, alarms, load, latency, tasks }) };
}

function update({ frame, rows, events }, { figures, alarms, load, latency, tasks }) {
  const { overview } = frame;
  const phase = overview.phase === null ? "" : `, ${PHASES[overview.phase] ?? overview.phase}`;
  figures.set({
    certified: number(overview.certified),
    offered: number(overview.offered),
    intra: pair(overview.intra_ms),
    cross: pair(overview.cross_ms),
    nodes: `${overview.nodes_up} of ${overview.nodes}`,
    epoch: overview.epoch === null ? "–" : `${overview.epoch}${phase}`,
    supply: coins(overview.supply),
    payments: number(overview.in_flight_payments),
    flight: coins(overview.coins_in_flight),
  });
  list(alarms, frame.alarms.length
    ? frame.alarms.map((alarm) => [alarm.text, `since ${clock(alarm.since)}`, ""])
    : [["Nothing to worry about.", "", "good"]]);
  list(tasks, events.slice(-30).sort((a, b) => b[1] - a[1]).slice(0, 8).map(([, at, server, , , kind, text]) => [`${server}: ${text}`, `${kind}, ${clock(at)}`, "good"]));
  const some = thin(rows);
  load.draw(() => {
    const x = times(some);
    const data = [
      line("offered", x, some.map((row) => row.offered), 1),
      line("certified", x, some.map((row) => row.certified), 0),
    ];
    return { data, layout: layout({ xaxis: OVER_TIME, yaxis: { title: { text: "payments per second" } } }) };
  });
  latency.draw(() => {
    const x = times(some);
    const kinds = [["inside, median", 0, 0], ["inside, 99 %", 1, 0], ["between, median", 2, 1], ["between, 99 %", 3, 1]];
    const data = kinds.map(([name, index, colour]) => {
      const drawn = line(name, x, some.map((row) => row.latency[index]), colour);
      drawn.line.dash = index % 2 ? "dash" : "solid";
      return drawn;
    });
    return { data, layout: layout({ xaxis: OVER_TIME, yaxis: { title: { text: "milliseconds" } } }) };
  });
}

function list(node, items) {
  while (node.children.length > items.length) node.lastChild.remove();
  items.forEach(([text, note, kind], at) => {
    const item = node.children[at] ?? node.appendChild(el("li", {}, el("small"), el("span")));
    if (item.className !== kind) item.className = kind;
    put(item.children[0], note);
    put(item.children[1], text);
  });
}
