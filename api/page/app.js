// The page: what is shown where, and when it is asked for again.

import { follow, json, Refused, setToken } from "./client.js";
import * as detail from "./detail.js";
import { ago, duration, element, megabytes, moment, until } from "./format.js";
import { Table } from "./table.js";

const VIEWS = ["containers", "leases", "workers", "checks"];
const REFRESH = 10000; // milliseconds: what changes without an event
const SETTLE = 200; // events that come together cost one question
const AFTERMATH = 1000; // a phase follows its event
const AT_ONCE = 5; // endpoints that are asked for one by one
const BAD = ["expired"];
const WARN = ["rebinding"];

const $ = (id) => document.getElementById(id);
const endpoints = new Map();
const changed = new Set();
let settling = null;
let live = false;
let view = "containers";

// Containers

function state(endpoint) {
  const states = [endpoint.lease_state, endpoint.ipv6?.lease_state].filter(Boolean);
  const worst = states.find((one) => BAD.includes(one)) ?? states.find((one) => WARN.includes(one)) ?? states[0];
  const look = BAD.includes(worst) ? "bad" : WARN.includes(worst) || !worst ? "warn" : "good";
  const phase = endpoint.phase === "joined" ? null : element("small", {}, endpoint.phase);
  const trouble = endpoint.last_trouble ?? endpoint.ipv6?.last_trouble;
  return element("div", {}, element("span", { class: look }, worst ?? "no lease"), phase,
    trouble ? element("small", {}, trouble) : null);
}

const both = (four, six) => element("div", { class: "mono" }, four ?? (six ? "" : "–"), six ? element("small", {}, six) : null);

const containers = new Table($("containers"), (one) => one.endpoint_id, [
  (one) => element("button", { class: "name", "data-id": one.endpoint_id }, detail.nameOf(one)),
  (one) => one.network,
  (one) => both(one.address, one.ipv6?.address),
  (one) => element("span", { class: "mono" }, one.mac ?? "the card's"),
  state,
  (one) => (one.expires ? until(one.expires) : one.ipv6?.expires ? until(one.ipv6.expires) : one.address ? "never" : ""),
  (one) => (one.renewed ?? one.ipv6?.renewed ? ago(one.renewed ?? one.ipv6.renewed) : ""),
  (one) => one.server ?? one.ipv6?.server,
]);

function showContainers() {
  if (view !== "containers") return;
  const words = $("containers-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (one) => [one.container, one.network, one.address, one.ipv6?.address, one.mac, one.hostname, one.lease_state]
    .join(" ").toLowerCase();
  const found = [...endpoints.values()].filter((one) => words.every((word) => text(one).includes(word)));
  found.sort((a, b) => detail.nameOf(a).localeCompare(detail.nameOf(b)) || a.endpoint_id.localeCompare(b.endpoint_id));
  containers.show(found);
  const count = `${found.length} of ${endpoints.size}`;
  if ($("containers-count").textContent !== count) $("containers-count").textContent = count;
}

$("containers-filter").addEventListener("input", showContainers);
$("containers").addEventListener("click", (event) => {
  const name = event.target.closest("button.name");
  if (name) detail.open(endpoints.get(name.dataset.id));
});

async function refreshEndpoints() {
  const list = (await json("/v1/endpoints")).endpoints;
  endpoints.clear();
  for (const one of list) endpoints.set(one.endpoint_id, one);
  showContainers();
}

async function refreshSome(ids) {
  await Promise.all(ids.map(async (id) => {
    try {
      endpoints.set(id, await json(`/v1/endpoints/${id}`));
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 404) throw error;
      endpoints.delete(id);
    }
    if (detail.isShown(id) && endpoints.has(id)) detail.show(endpoints.get(id));
  }));
  showContainers();
}

function onEvent(event) {
  changed.add(event.endpoint_id);
  settling ??= setTimeout(() => {
    settling = null;
    const ids = [...changed];
    changed.clear();
    const look = () => attempt(() => (ids.length > AT_ONCE ? refreshEndpoints() : refreshSome(ids)));
    look();
    setTimeout(look, AFTERMATH);
  }, SETTLE);
}

// Leases

const leases = new Table($("leases"), (one) => [one.endpoint_id, one.address, one.begin].join(), [
  (one) => element("span", { class: "mono" }, one.address),
  (one) => one.container ?? "",
  (one) => one.network,
  (one) => element("span", { class: "mono" }, one.mac ?? ""),
  (one) => moment(one.begin),
  (one) => (one.end ? moment(one.end) : element("span", { class: "good" }, "now")),
  (one) => one.ended_by ?? "",
]);

async function refreshLeases() {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData($("leases-form"))) {
    if (value) query.set(name, name === "at" ? new Date(value).toISOString() : value);
  }
  leases.show((await json(`/v1/leases?${query}`)).leases.reverse());
}

$("leases-form").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(refreshLeases);
});

// Workers

const owner = (id) => (id ? (endpoints.has(id) ? detail.nameOf(endpoints.get(id)) : id.slice(0, 12)) : "");

const workers = new Table($("workers"), (one) => `${one.pid}/${one.name}`, [
  (one) => one.name,
  (one) => one.role,
  (one) => owner(one.endpoint_id),
  (one) => element("span", { class: one.state === "backoff" ? "bad" : "good" }, one.state),
  (one) => (one.pid === null ? "" : String(one.pid)),
  (one) => (one.cost ? `${one.cost.cpu.toFixed(2)} s` : ""),
  (one) => (one.cost ? megabytes(one.cost.pss) : ""),
  (one) => (one.cost ? String(one.cost.descriptors) : ""),
  (one) => String(one.restarts),
]);

async function refreshWorkers() {
  const list = (await json("/v1/workers")).workers;
  workers.show(list);
  const memory = list.reduce((sum, one) => sum + (one.cost?.pss ?? 0), 0);
  $("workers-sum").textContent = `${list.length} processes, ${megabytes(memory)} of memory in all`;
}

// Checks

const checks = new Table($("checks"), (one) => [one.network, one.id, one.found].join(), [
  (one) => element("span", { class: { error: "bad", warning: "warn" }[one.severity] ?? "quiet" }, one.severity),
  (one) => one.network,
  (one) => one.parent,
  (one) => one.found,
  (one) => element("code", {}, one.remedy ?? ""),
]);

async function refreshChecks() {
  const found = await json("/v1/checks");
  checks.show([...found.checks, ...found.engine.map((one) => ({ ...one, network: "engine", parent: null }))]);
}

async function refreshHealth() {
  const health = await json("/healthz");
  const problems = health.problems.length;
  $("health").className = problems ? "bad" : live ? "good" : "warn";
  $("health").textContent = problems
    ? `${problems} ${problems === 1 ? "problem" : "problems"}`
    : `${live ? "all is well" : "connecting"}, up for ${duration(health.uptime)}`;
  $("problems").replaceChildren(...(problems ? health.problems : ["None."]).map((text) => element("li", {}, text)));
}

// The whole

const REFRESHES = { containers: refreshEndpoints, leases: refreshLeases, workers: refreshWorkers, checks: refreshChecks };

async function attempt(action) {
  try {
    await action();
    $("trouble").hidden = true;
  } catch (error) {
    if (error instanceof Refused && error.status === 401) {
      if (!$("login").open) $("login").showModal();
      return;
    }
    $("trouble").textContent = error instanceof Refused ? error.message : "The plugin does not answer; this page tries again.";
    $("trouble").hidden = false;
  }
}

$("login").addEventListener("close", () => {
  setToken(new FormData($("login").querySelector("form")).get("token"));
  refresh();
});

function refresh() {
  attempt(async () => {
    await refreshHealth();
    await REFRESHES[view]();
  });
}

function route() {
  const wanted = location.hash.replace("#/", "");
  view = VIEWS.includes(wanted) ? wanted : "containers";
  for (const name of VIEWS) $(name).hidden = name !== view;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#/${view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${$(`${view}-title`).textContent} – net-dhcp`;
  refresh();
}

addEventListener("hashchange", route);
setInterval(() => {
  if (!document.hidden) refresh();
}, REFRESH);
setInterval(() => {
  if (!document.hidden) showContainers();
}, 1000);
follow(onEvent, (state) => {
  live = state;
  if (state) refresh();
});
route();
