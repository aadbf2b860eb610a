// What users do, and the servers that are no nodes.
import { OVER_TIME, chart, layout, line, thin, times } from "./charts.js";
import { bytes, el, ms, number, panel, table } from "./text.js";

export const title = "Services";
export const hint = "The service is the API of users: it registers them, sells coins, sends payments and redeems coins. Below: the other servers that are no nodes.";

const NAMES = { register: "register", login: "log in", buy: "buy coins", pay: "pay", cash_out: "cash out", balance: "ask for a balance" };

export function build(root) {
  const none = el("p", { class: "hint", id: "no-service" }, "No service has reported yet. It counts here once it runs with its telemetry pushed to this page.");
  const operations = table([["operation", true], ["done"], ["failed"], ["per second"], ["failures per second"], ["median"], ["99th percentile"]]);
  const rates = chart();
  const servers = table([["server", true], ["kind", true], ["state", true], ["CPU"], ["memory"], ["last task", true]]);
  const used = el("div", { class: "grid" },
    panel("Operations", "Since the service started; latencies of the last second, of the slowest service.", operations.box),
    panel("Operations per second", "Over all services.", rates.node));
  root.append(none, used, panel("Other servers", "Signaler, load generators and services.", servers.box));
  return {
    update: ({ frame, rows }) => {
      const found = frame.operations;
      none.hidden = found.length > 0;
      used.hidden = found.length === 0;
      operations.set(found.map((one) => [
        NAMES[one.name] ?? one.name, number(one.total), number(one.failed), number(one.per_second), number(one.failed_per_second),
        ms(one.latency_ms?.[0]), ms(one.latency_ms?.[1]),
      ]));
      servers.set(frame.servers.map((one) => [
        one.name, one.kind, one.up ? "up" : `not heard for ${number(one.silent_s)} s`, `${number(one.cpu * 100)} %`, bytes(one.memory), one.task || "–",
      ]));
      if (found.length === 0) return;
      const some = thin(rows);
      rates.draw(() => {
        const x = times(some);
        const data = found.map((one, at) => line(NAMES[one.name] ?? one.name, x, some.map((row) => row.operations[at] ?? null), at));
        return { data, layout: layout({ xaxis: OVER_TIME, yaxis: { title: { text: "per second" } } }) };
      });
    },
  };
}
