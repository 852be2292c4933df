// One endpoint: its facts, its lease's time line, its events and messages, and what its processes cost.

import { ask, json, objects } from "./client.js";
import { ago, duration, element, megabytes, moment, until } from "./format.js";

const TROUBLES = ["nak", "no answer", "expired", "unusable answer", "conflict", "client died", "link gone", "failed"];
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 1000;

// The host's own endpoint has its network's id; a container whose name is not known yet has only its endpoint's.
export const nameOf = (one) =>
  one.container ?? (one.endpoint_id === one.network_id ? "this host" : one.endpoint_id.slice(0, 12));

const dialog = document.getElementById("detail");
let shown = null;
let opener = null;

export function open(endpoint) {
  shown = endpoint.endpoint_id;
  opener = document.activeElement;
  show(endpoint);
  if (!dialog.open) dialog.showModal();
}

dialog.addEventListener("close", () => {
  shown = null;
  opener?.focus();
});

export const isShown = (id) => shown === id;

export async function show(endpoint) {
  document.getElementById("detail-title").textContent = nameOf(endpoint);
  document.getElementById("detail-facts").replaceChildren(facts(endpoint, []));
  const id = endpoint.endpoint_id;
  const [history, processes, whole] = await Promise.all([
    json(`/v1/leases?${new URLSearchParams(who(endpoint))}`).catch(() => ({ leases: [] })),
    json("/v1/workers").catch(() => ({ workers: [] })),
    json(`/v1/endpoints/${id}`).catch(() => ({ messages: [] })),
  ]);
  const events = await eventsOf(id);
  if (shown !== id) return;
  document.getElementById("detail-facts").replaceChildren(facts(endpoint, processes.workers));
  document.getElementById("detail-timeline").replaceChildren(timeline(history.leases, events, endpoint));
  document.getElementById("detail-events").replaceChildren(...events.reverse().map(item));
  document.getElementById("detail-messages").replaceChildren(...whole.messages.reverse().map(message));
}

const who = (one) => (one.container_id ? { container: one.container_id } : one.mac ? { mac: one.mac } : { network: one.network_id });

async function eventsOf(id) {
  const text = await (await ask(`/v1/events?endpoint=${id}`)).text();
  return objects(text).filter((event) => event.id);
}

function facts(endpoint, workers) {
  const six = endpoint.ipv6;
  const rows = [
    ["Network", endpoint.network],
    ["Link", `${endpoint.interface ?? "–"} (${endpoint.mode} on ${endpoint.parent})`],
    ["MAC address", endpoint.mac],
    ["Host name", endpoint.hostname],
    ["Phase", endpoint.phase],
    ["IPv4", endpoint.address && lease(endpoint)],
    ["Gateway", endpoint.gateway],
    ["Name servers", endpoint.dns.join(", ")],
    ["Domain", endpoint.domain],
    ["IPv6", six && lease(six)],
    ["IPv6 router", six?.router],
    ["Last trouble", endpoint.last_trouble ?? six?.last_trouble],
    ...workers.filter((one) => one.endpoint_id === endpoint.endpoint_id).map((one) => [
      one.role,
      `pid ${one.pid ?? "–"}, ${one.state}${one.cost ? `, ${one.cost.cpu.toFixed(2)} s, ${megabytes(one.cost.pss)}` : ""}`,
    ]),
  ];
  const list = element("dl");
  for (const [name, value] of rows) {
    if (value) list.append(element("dt", {}, name), element("dd", {}, value));
  }
  return list;
}

function lease(one) {
  const end = one.expires ? `expires in ${until(one.expires)}` : "never expires";
  return `${one.address}, ${one.lease_state}, for ${one.lease_seconds ? duration(one.lease_seconds) : "ever"}, ` +
    `renewed ${ago(one.renewed)}, ${end}${one.server ? `, by ${one.server}` : ""}`;
}

function item(event) {
  const kind = element("b", { class: TROUBLES.includes(event.kind) ? "bad" : "good" }, event.kind);
  return element("li", {}, element("time", { datetime: event.time }, moment(event.time)), kind, " ",
    event.address ?? "", " ", element("span", { class: "quiet" }, event.detail));
}

function message(one) {
  const kind = element("b", { class: one.kind === "NAK" ? "bad" : "good" }, one.kind);
  const rest = [one.family, one.address, one.server && `server ${one.server}`, one.xid && `xid ${one.xid}`].filter(Boolean);
  return element("li", {}, element("time", { datetime: one.time }, moment(one.time)), one.sent ? "sent " : "received ",
    kind, " ", element("span", { class: "quiet" }, rest.join(", ")));
}

function timeline(leases, events, endpoint) {
  const now = Date.now();
  const times = [...leases.map((one) => Date.parse(one.begin)), ...events.map((event) => Date.parse(event.time))];
  if (!times.length) return element("p", { class: "quiet" }, "No history yet.");
  const expiry = endpoint.expires ? Date.parse(endpoint.expires) : now;
  const first = Math.min(...times);
  const scale = WIDTH / (Math.max(expiry, now) - first || 1);
  const x = (time) => ((time - first) * scale).toFixed(1);
  const drawing = svg("svg", { class: "timeline", viewBox: `0 0 ${WIDTH} 56`, preserveAspectRatio: "none", role: "img",
    "aria-label": `Lease since ${moment(first)}: ${events.length} events, which the list below has` });
  for (const one of leases) {
    const begin = x(Date.parse(one.begin));
    const width = Math.max(2, x(one.end ? Date.parse(one.end) : Math.max(expiry, now)) - begin);
    const bar = svg("rect", { class: "span", x: begin, y: one.family === "ipv6" ? 24 : 10, width, height: 12 });
    bar.append(text("title", `${one.address}: ${moment(one.begin)} to ${one.end ? moment(one.end) : "now"}`));
    drawing.append(bar);
  }
  for (const event of events) {
    const at = x(Date.parse(event.time));
    const mark = svg("line", { class: TROUBLES.includes(event.kind) ? "mark trouble" : "mark", x1: at, x2: at, y1: 6, y2: 40 });
    mark.append(text("title", `${event.kind} ${moment(event.time)}`));
    drawing.append(mark);
  }
  drawing.append(svg("line", { class: "end", x1: x(now), x2: x(now), y1: 0, y2: 46 }));
  const words = element("p", { class: "quiet" }, `${moment(first)} – now${endpoint.expires ? ` – ${moment(expiry)} (end of the lease)` : ""}`);
  return element("div", {}, drawing, words);
}

function svg(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function text(name, content) {
  const made = svg(name, {});
  made.textContent = content;
  return made;
}
