// Load per committee, what they send each other, and what waits.
import { COLOURS, OVER_TIME, chart, layout, line, thin, times } from "./charts.js";
import { cards, el, number, panel, short, table } from "./text.js";

export const title = "Committees";
export const hint = "Accounts are spread over committees by their key. A payment to an account of another committee travels as a message: debited here, credited there.";

/** More committees than this are drawn as a map instead of lines. */
const LINES_MAX = 8;
const NUMBERS_MAX = 10;

export function build(root) {
  const figures = cards([
    ["count", "Committees", ""],
    ["imbalance", "Imbalance", "Load of the busiest committee divided by the mean; 1 is even"],
    ["cross", "Share between committees", "Payments whose payee is in another committee"],
    ["waiting", "Messages that wait", "Sent and not consumed yet"],
  ]);
  const bars = chart();
  const past = chart();
  const matrix = chart(true);
  const inbox = chart(true);
  const rows = table([
    ["committee", true], ["nodes up"], ["quorum"], ["payments/s"], ["credits/s"], ["CPU, cores"], ["mempool"],
    ["height executed"], ["height certified"], ["round"], ["messages wait"], ["oldest, s"],
  ]);
  root.append(
    figures.box,
    el("div", { class: "grid" },
      panel("Load per committee, now", "Certified payments of its payers, and credits to its payees from elsewhere.", bars.node),
      panel("Load per committee, over time", "Certified payments per second.", past.node),
      panel("Who pays whom", "Payments per second from the committee on the left to the one below; the diagonal stays inside.", matrix.node),
      panel("Inboxes", "Messages of other committees that wait to be credited. Growing bars mean a committee cannot keep up.", inbox.node)),
    panel("In numbers", "Heights are numbers of ledger blocks; rounds are steps of the consensus.", rows.box),
  );
  return { update: (state) => update(state, { figures, bars, past, matrix, inbox, rows }) };
}

function update({ frame, rows }, view) {
  const { committees } = frame;
  const names = committees.map(({ id }) => `${id}`);
  const load = committees.map(({ certified }) => certified);
  const total = load.reduce((sum, value) => sum + value, 0);
  const away = committees.reduce((sum, { id, flow }) => sum + flow.reduce((part, rate, to) => part + (to === id ? 0 : rate), 0), 0);
  const all = committees.reduce((sum, { flow }) => sum + flow.reduce((part, rate) => part + rate, 0), 0);
  view.figures.set({
    count: `${committees.length}`,
    imbalance: total > 0 ? number((Math.max(...load) * load.length) / total) : "–",
    cross: all > 0 ? `${number((100 * away) / all)} %` : "–",
    waiting: number(committees.reduce((sum, { inbox }) => sum + inbox, 0)),
  });
  view.rows.set(committees.map((one) => [
    one.id, `${one.up} of ${one.nodes}`, one.quorum, number(one.certified), number(one.credits), number(one.cores), number(one.mempool),
    number(one.executed_height), number(one.certified_height), number(one.round), number(one.inbox), number(one.inbox_age_s),
  ]));
  const category = { type: "category", title: { text: "committee" }, nticks: 16 };
  view.bars.draw(() => ({
    data: [
      { type: "bar", name: "payments", x: names, y: load, marker: { color: COLOURS[0] }, hovertemplate: "committee %{x}: %{y:,.0f} payments/s<extra></extra>" },
      { type: "bar", name: "credits from elsewhere", x: names, y: committees.map(({ credits }) => credits), marker: { color: COLOURS[1], pattern: { shape: "/", fillmode: "overlay", fgcolor: "#ffffff", fgopacity: 0.6 } }, hovertemplate: "committee %{x}: %{y:,.0f} credits/s<extra></extra>" },
    ],
    layout: layout({ barmode: "group", xaxis: category, yaxis: { title: { text: "per second" } } }),
  }));
  view.past.draw(() => past(committees, thin(rows, committees.length > LINES_MAX ? 120 : 300)));
  view.matrix.draw(() => matrix(committees, names));
  view.inbox.draw(() => ({
    data: committees.length <= NUMBERS_MAX ? bySource(committees, names) : inAll(committees, names),
    layout: layout({ barmode: "stack", showlegend: committees.length <= NUMBERS_MAX, xaxis: category, yaxis: { title: { text: "messages" } } }),
  }));
}

/** What waits in each inbox, by the committee that sent it. */
function bySource(committees, names) {
  return committees.map(({ id, waiting }, at) => ({
    type: "bar", name: `from ${id}`, x: names, y: committees.map((to) => waiting[to.id]),
    marker: { color: COLOURS[at % COLOURS.length] }, hovertemplate: `from ${id} to %{x}: %{y:,.0f} wait<extra></extra>`,
  }));
}

/** Many committees: a bar each, for thousands of pieces take a browser half a second. */
function inAll(committees, names) {
  const most = committees.map((to) => committees.reduce((best, from) => (from.waiting[to.id] > best.waiting[to.id] ? from : best)).id);
  return [{
    type: "bar", name: "from all", x: names, y: committees.map(({ inbox }) => inbox), customdata: most, marker: { color: COLOURS[0] },
    hovertemplate: "to %{x}: %{y:,.0f} wait, most from %{customdata}<extra></extra>",
  }];
}

function past(committees, rows) {
  const x = times(rows);
  const of = (row, id) => row.committees.find(([one]) => one === id)?.[1][0] ?? null;
  if (committees.length <= LINES_MAX) {
    const data = committees.map(({ id }, at) => line(`committee ${id}`, x, rows.map((row) => of(row, id)), at));
    return { data, layout: layout({ xaxis: OVER_TIME, yaxis: { title: { text: "payments per second" } } }) };
  }
  const z = committees.map(({ id }, at) => rows.map((row) => (row.committees[at]?.[0] === id ? row.committees[at][1][0] : of(row, id))));
  const data = [{
    type: "heatmap", x, y: committees.map(({ id }) => `${id}`), z, colorscale: "Cividis", colorbar: { title: { text: "payments/s" }, thickness: 12 },
    hovertemplate: "committee %{y}: %{z:,.0f} payments/s<extra></extra>",
  }];
  return { data, layout: layout({ xaxis: OVER_TIME, yaxis: { type: "category", title: { text: "committee" }, nticks: 12 } }) };
}

function matrix(committees, names) {
  const z = committees.map(({ flow }) => committees.map((to) => flow[to.id]));
  const some = committees.length <= NUMBERS_MAX;
  const data = [{
    type: "heatmap", x: names, y: names, z, colorscale: "Cividis", xgap: 2, ygap: 2, colorbar: { title: { text: "payments/s" }, thickness: 12 },
    text: some ? z.map((row) => row.map(short)) : undefined, texttemplate: some ? "%{text}" : "",
    hovertemplate: "from %{y} to %{x}: %{z:,.1f} payments/s<extra></extra>",
  }];
  const axis = (text) => ({ type: "category", title: { text }, nticks: 16 });
  return { data, layout: layout({ xaxis: axis("to committee"), yaxis: { ...axis("from committee"), autorange: "reversed" } }) };
}
