"use strict";
// The admin port's pages. Each shows the JSON of its own path. Whatever comes from the process goes
// into the document as text, never as markup, and with its control characters made visible.

const TOKEN = "admin token", REFRESH = "refresh";
const EVERY = 2000;
const $ = (selector) => document.querySelector(selector);
const main = $("main"), problem = $(".problem");
const query = new URLSearchParams(location.search);
let worker = query.get("worker") || "";
let about = {};

class Refused extends Error {}

function clean(value) {
  return String(value).replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (sign) => {
    const code = sign.codePointAt(0).toString(16);
    return code.length < 3 ? `\\x${code.padStart(2, "0")}` : `\\u${code.padStart(4, "0")}`;
  });
}

function h(tag, properties, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(properties || {})) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(key, value);
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    made.append(child instanceof Node ? child : clean(child));
  }
  return made;
}

const three = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2));

function duration(seconds) {
  if (seconds >= 86400) return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
  if (seconds >= 3600) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  if (seconds >= 120) return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  if (seconds >= 1) return `${three(seconds)} s`;
  if (seconds >= 1e-3) return `${three(seconds * 1e3)} ms`;
  return seconds > 0 ? `${(seconds * 1e6).toFixed(0)} µs` : "0 s";
}

function figure(name, value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return typeof value === "object" && value !== null ? JSON.stringify(value) : value ?? "–";
  if (/milliseconds$/.test(name)) return duration(value / 1000);
  if (/start_time_seconds$/.test(name)) return new Date(value * 1000).toISOString().slice(0, 19).replace("T", " ");
  if (/seconds$|_age$/.test(name)) return duration(value);
  if (/bytes$/.test(name) && value >= 1024) return value >= 2 ** 30 ? `${three(value / 2 ** 30)} GiB` : value >= 2 ** 20 ? `${three(value / 2 ** 20)} MiB` : `${three(value / 1024)} KiB`;
  return Number.isInteger(value) ? value.toLocaleString("en") : Math.abs(value) >= 1e9 || Math.abs(value) < 1e-3 ? value.toPrecision(4) : value.toLocaleString("en", { maximumFractionDigits: 3 });
}

const heading = (name) => name.replace(/_(seconds|milliseconds|bytes)$/, "").replaceAll("_", " ");

function table(columns, rows, { stack = false } = {}) {
  const head = columns.map(([title, , kind]) => h("th", { class: kind === "number" ? "number" : null, scope: "col" }, title));
  const body = rows.map((row) => h("tr", {}, columns.map(([, cell, kind]) => {
    const value = typeof cell === "function" ? cell(row) : row[cell];
    const zero = kind === "number" && (value === 0 || value === "0" || value === "0 s");
    return h("td", { class: [kind, zero && "zero"].filter(Boolean).join(" ") || null }, value ?? "–");
  })));
  return h("div", { class: "scroll" }, h("table", { class: stack ? "stack" : null }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, body)));
}

function takeTokenFromFragment() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given === null) return;
  sessionStorage.setItem(TOKEN, given);
  history.replaceState(null, "", location.pathname + location.search);
}

function target(path, more = {}) {
  const words = new URLSearchParams(more);
  if (worker && path !== "/") words.set("worker", worker);
  return words.size ? `${path}?${words}` : path;
}

async function ask(path, { more, accept = "application/json", ...options } = {}) {
  const headers = { Accept: accept, ...options.headers };
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(target(path, more), { cache: "no-store", ...options, headers });
  } catch {
    throw new Error("The process does not answer.");
  }
  if (response.status === 401) throw new Refused(token ? "This is not the token." : "");
  if (!response.ok && path !== "/ready") {
    const found = await response.json().catch(() => ({}));
    throw new Error(found.detail || `${path} answered with status ${response.status}.`);
  }
  return response;
}

const json = async (path, more) => (await ask(path, { more })).json();

function askForToken(reason) {
  const field = h("input", { type: "password", autocomplete: "off", "aria-label": "Token", required: true });
  const form = h("form", { class: "card token" }, h("h1", {}, "This admin port needs its token"),
    h("p", { class: "about" }, "It is the value of the service's setting admin_token. It stays in this tab, is sent in a header only, and is forgotten when the tab is closed."),
    reason && h("p", { class: "bad" }, reason), field, h("button", { class: "main" }, "Show"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(TOKEN, field.value.trim());
    start();
  });
  main.replaceChildren(form);
  field.focus();
}

function say(text) {
  problem.hidden = !text;
  problem.textContent = clean(text || "");
}

const tag = (text, kind) => h("span", { class: `tag ${kind || ""}` }, text);
const READINESS = { ready: "good", draining: "warn", unavailable: "bad" };

function checks(ready) {
  const rows = ready.checks || [];
  const parts = rows.length ? [table([
    ["check", "name", "name"],
    ["", (row) => (row.ok ? tag("passes", "good") : tag("fails", "bad"))],
    ["took", (row) => figure("milliseconds", row.milliseconds), "number"],
    ...(rows.some((row) => row.reason) ? [["reason", "reason"]] : []),
  ], rows)] : [];
  for (const [number, one] of Object.entries(ready.workers || {})) {
    parts.push(h("h2", {}, `worker ${number} `, tag(one.status, READINESS[one.status])), checks(one));
  }
  return parts;
}

function levelForm(level) {
  const choice = h("select", { "aria-label": "Log level" }, ["debug", "info", "warning", "error"].map((one) => h("option", { value: one, selected: one === level }, one)));
  const button = h("button", { type: "button" }, "Change");
  const state = h("span", { class: "dim", role: "status" });
  button.addEventListener("click", async () => {
    try {
      const response = await ask("/log/level", { method: "PUT", body: JSON.stringify({ level: choice.value }), headers: { "Content-Type": "application/json" } });
      state.textContent = `is now ${clean((await response.json()).level)}`;
    } catch (error) { failed(error); }
  });
  return h("div", { class: "bar", "data-keep": "level" }, choice, button, state);
}

function settingsTable(settings, { help }) {
  const columns = [
    ["setting", (row) => h("span", { class: "code" }, row.variable), "name"],
    ["value", (row) => (row.value === null ? h("span", { class: "dim" }, "not set") : h("span", { class: "code" }, row.value))],
    ["from", (row) => tag(row.origin, row.origin === "default" ? "" : "good")],
  ];
  if (help) columns.push(["what", (row) => h("span", { class: "dim" }, row.help)]);
  return table(columns, settings, { stack: help });
}

let settings = null;

async function overview() {
  settings ??= await json("/config");  // they never change
  const ready = await json("/ready");
  const own = settings.filter((row) => row.origin !== "default");
  const origins = {};
  for (const { origin } of settings) {
    const [kind] = origin.split(" ");
    origins[kind] = (origins[kind] || 0) + 1;
  }
  const counts = Object.entries(origins).map(([origin, count]) => `${count} ${origin}`).join(", ");
  const workers = about.workers || [];
  return [
    h("h1", {}, about.service, " ", tag(ready.status, READINESS[ready.status])),
    h("p", { class: "about" }, `version ${about.version} · up ${duration(about.uptime_seconds)} · pid ${about.pid}`, workers.length ? ` · ${workers.length} workers` : ""),
    h("div", { class: "cards" },
      h("section", { class: "card" }, h("h2", {}, "Ready"), checks(ready)),
      h("section", { class: "card" }, h("h2", {}, "Limits"), h("dl", {}, Object.entries(about.limits || {}).map(([name, value]) => [h("dt", {}, heading(name)), h("dd", {}, figure(name, value))]))),
      h("section", { class: "card" }, h("h2", {}, "Log level"), levelForm(about.log_level), h("p", { class: "dim" }, "Until the process ends, or it is changed again."),
        workers.length ? [h("h2", {}, "Workers"), table([["worker", "worker", "number"], ["pid", "pid", "number"], ["up", (row) => duration(row.uptime_seconds), "number"]], workers)] : null),
      h("section", { class: "card" }, h("h2", {}, "Pages"), h("ul", { class: "links" }, pages().filter((page) => page.path !== "/").map((page) => h("li", {}, h("a", { href: link(page.path) }, page.title), h("span", { class: "dim" }, ` – ${page.about}`))))),
      h("section", { class: "card wide" }, h("h2", {}, "Settings"), h("p", { class: "about" }, "By origin: ", counts, ". Other than the defaults (", h("a", { href: link("/config") }, "all"), "):"), settingsTable(own, { help: false }))),
  ];
}

async function config(words) {
  settings ??= await json("/config");
  const found = settings.filter((row) => words(`${row.variable} ${row.value} ${row.origin} ${row.help}`));
  return [counted(found, settings, "settings"), h("section", { class: "card" }, settingsTable(found, { help: true }))];
}

function groups(state, words) {
  return Object.entries(state).filter(([, rows]) => Array.isArray(rows) && rows.length).map(([group, rows]) => {
    const found = rows.filter((row) => words(`${group} ${row.name}`));
    if (!found.length) return null;
    const names = [...new Set(found.flatMap(Object.keys))].filter((name) => name !== "name");
    const columns = [["name", "name", "name"], ...names.map((name) => [heading(name), (row) => figure(name, row[name]), typeof found[0][name] === "object" ? "" : "number"])];
    return h("section", { class: "card" }, h("h2", {}, heading(group)), table(columns, found));
  });
}

async function state(words) {
  const found = await json("/debug/state");
  if (!found.workers) return groups(found, words);
  return found.workers.map((one) => [h("h1", {}, `worker ${one.worker}`), h("p", { class: "about" }, `pid ${one.pid} · up ${duration(one.uptime_seconds)}`), groups(one, words)]);
}

async function tasks(words) {
  const all = await json("/debug/tasks");
  const found = all.tasks.filter((task) => words(`${task.name} ${task.stack.join(" ")}`));
  const waits = (task) => {
    // Where it is in code that one has written: everything waits in asyncio in the end.
    const places = task.stack.filter((place) => /^[\w.]+:\d+ /.test(place) && !/^(asyncio|uvloop)\b/.test(place));
    return h("details", { "data-key": task.name }, h("summary", { class: "code" }, places.at(-1) || task.stack.at(-1) || "–"), h("pre", {}, task.stack.map((place) => clean(place)).join("\n")));
  };
  return [
    counted(found, { length: all.total }, "tasks"),
    h("section", { class: "card" }, table([
      ["task", "name", "name"],
      ["age", (task) => (task.age_seconds === null ? "new" : duration(task.age_seconds)), "number"],
      ["waits in", waits],
    ], found, { stack: true })),
  ];
}

const LEVELS = ["debug", "info", "warning", "error"];
const log = { next: 0, lines: [] };

function parsed(line) {
  try {
    const record = JSON.parse(line);
    if (record && typeof record === "object") return record;
  } catch { /* as text */ }
  const found = LEVELS.slice(2).find((level) => new RegExp(`\\b${level}\\b`, "i").test(line.slice(0, 60)));
  return { text: line, level: found || "info" };
}

function timeOfDay(moment) {
  const time = new Date(moment);
  return Number.isNaN(time.valueOf()) ? String(moment).slice(11, 23) : `${time.toTimeString().slice(0, 8)}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}

const outcomeKind = (outcome) => (outcome === "OK" || outcome < 400 ? "good" : outcome === 429 || outcome === "RESOURCE_EXHAUSTED" ? "refused" : outcome >= 500 ? "bad" : "warn");

// A log for people: a line of a request, or anything else with what stands below it.
function textLine({ text, level }) {
  const request = /^(.*? {2})([1-5]\d\d|OK|[A-Z]+(?:_[A-Z]+)*)( {2}\d[\d.]* (?:µs|ms|s)\b.*)$/.exec(text);
  if (request === null) return text.split("\n").map((one) => h("div", { class: level }, h("span", { class: { warning: "warn", error: "bad" }[level] }, one)));
  const [, before, status, after] = request;
  return h("div", { class: level }, before, h("span", { class: outcomeKind(Number(status) || status) }, status), h("span", { class: "dim" }, after));
}

function logLine(record) {
  if (record.text !== undefined) return textLine(record);
  const { time = "", level = "", msg = "", source, method, path, status, code, duration_ms: took, ...rest } = record;
  const parts = [h("span", { class: "dim" }, timeOfDay(time)), "  "];
  const outcome = status ?? code;
  if (method !== undefined && outcome !== undefined) {
    parts.push(`${path === undefined ? method : `${String(method).padEnd(4)} ${path}`}  `, h("span", { class: outcomeKind(outcome) }, outcome), `  ${took === undefined ? "" : duration(took / 1000)}`);
  } else {
    parts.push(h("span", { class: level === "error" ? "bad" : level === "warning" ? "warn" : "dim" }, level.padEnd(7)), `  ${msg}`);
    if (took !== undefined) rest.duration_ms = took;
    for (const [name, value] of Object.entries({ method, path, status, code })) if (value !== undefined) rest[name] = value;
  }
  const more = Object.entries(rest).filter(([, value]) => value !== null).map(([name, value]) => `${name}=${typeof value === "object" ? JSON.stringify(value) : value}`).join(" ");
  return h("div", { class: level }, parts, h("span", { class: "dim" }, `  ${more}`));
}

async function logs(words, controls) {
  const found = await json("/debug/logs", { after: log.next });
  log.lines = found.next < log.next ? found.lines : [...log.lines, ...found.lines].slice(-2000);
  log.next = found.next;
  const least = LEVELS.indexOf(controls.querySelector("select").value);
  const shown = log.lines.map((line) => [line, parsed(line)]).filter(([line, record]) => words(line) && LEVELS.indexOf(record.level ?? "info") >= least);
  return [counted(shown, log.lines, "lines"), h("div", { class: "log", tabindex: "0", "aria-label": "Log" }, shown.map(([, record]) => logLine(record)))];
}

function metricFamilies(text) {
  const families = new Map();
  let current = null;
  const named = (name) => {
    if (!families.has(name)) families.set(name, { name, kind: "", help: "", samples: [] });
    return families.get(name);
  };
  for (const line of text.split("\n")) {
    const about = /^# (HELP|TYPE) (\S+) ?(.*)$/.exec(line);
    if (about) {
      current = named(about[2]);
      if (about[1] === "TYPE") current.kind = about[3];
      else current.help = about[3];
    } else if (line && !line.startsWith("#")) {
      const sample = /^([\w:]+)(?:\{((?:[^"{}]|"(?:[^"\\]|\\.)*")*)\})?\s+(\S+)/.exec(line);
      if (sample === null) continue;
      const family = current && sample[1].startsWith(current.name) ? current : named(sample[1]);
      family.samples.push({ name: sample[1], labels: sample[2] || "", value: Number(sample[3].replace("Inf", "Infinity")) });
    }
  }
  return [...families.values()];
}

function histogramRows(samples) {
  const series = new Map();
  for (const { name, labels, value } of samples) {
    const bound = /(?:^|,)le="([^"]*)"/.exec(labels);
    const key = labels.replace(/(?:^|,)le="[^"]*"/, "");
    if (!series.has(key)) series.set(key, { labels: key, buckets: [], count: 0, sum: 0 });
    const one = series.get(key);
    if (bound) one.buckets.push([Number(bound[1].replace("Inf", "Infinity")), value]);
    else if (name.endsWith("_count")) one.count = value;
    else if (name.endsWith("_sum")) one.sum = value;
  }
  return [...series.values()];
}

function quantile(buckets, share) {
  const wanted = share * (buckets.at(-1)?.[1] || 0);
  let low = 0, below = 0;
  for (const [bound, count] of buckets) {
    if (count >= wanted && count > below) return bound === Infinity ? low : low + ((bound - low) * (wanted - below)) / (count - below);
    if (bound !== Infinity) [low, below] = [bound, count];
  }
  return low;
}

async function metrics(words) {
  const families = metricFamilies(await (await ask("/metrics", { accept: "text/plain" })).text());
  const found = families.filter((family) => words(`${family.name} ${family.help} ${family.samples.map((one) => one.labels).join(" ")}`));
  return [counted(found, families, "metrics"), found.map((family) => {
    const labels = ["labels", (row) => h("span", { class: "code" }, row.labels || "–")];
    const unit = (value) => (/seconds/.test(family.name) ? duration(value) : figure(family.name, value));
    const body = family.kind === "histogram"
      ? table([labels, ["count", (row) => figure("", row.count), "number"], ["mean", (row) => (row.count ? unit(row.sum / row.count) : "–"), "number"], ["p50", (row) => (row.count ? unit(quantile(row.buckets, 0.5)) : "–"), "number"], ["p99", (row) => (row.count ? unit(quantile(row.buckets, 0.99)) : "–"), "number"]], histogramRows(family.samples))
      : table([labels, ["value", (row) => figure(family.name.replace(/_total$/, ""), row.value), "number"]], family.samples);
    return h("details", { class: "card metric", "data-key": family.name }, h("summary", {}, h("span", { class: "code" }, family.name), " ", tag(family.kind || "untyped"), h("span", { class: "dim" }, ` ${family.help}`), family.samples.length === 1 ? h("b", { class: "value" }, `${figure(family.name.replace(/_total$/, ""), family.samples[0].value)}`) : null), body);
  })];
}

async function level() {
  const found = await json("/log/level");
  return h("section", { class: "card" }, levelForm(found.level));
}

function counted(found, all, what) {
  return h("p", { class: "about" }, found.length === all.length ? `${all.length} ${what}` : `${found.length} of ${all.length} ${what}`);
}

function profilePage() {
  const seconds = h("input", { type: "number", min: "0.1", max: "60", step: "any", value: query.get("seconds") || "5", "aria-label": "Seconds" });
  const button = h("button", { class: "main" }, "Profile");
  const save = h("button", { type: "button", hidden: true }, "Save SVG");
  const text = h("button", { type: "button" }, "As text");
  const state = h("span", { class: "busy", role: "status" });
  const place = h("div", { class: "card", hidden: true });
  const form = h("form", { class: "bar" }, h("label", {}, seconds, " seconds"), button, text, save, state);
  let picture = "";

  const busy = async (format, work) => {
    button.disabled = text.disabled = true;
    const until = Date.now() + 1000 * seconds.value;
    const clock = setInterval(() => { state.textContent = `profiling, ${Math.max(0, Math.ceil((until - Date.now()) / 1000))} s left …`; }, 200);
    try {
      const response = await ask("/debug/profile", { accept: "*/*", more: { seconds: seconds.value, format } });
      work(await response.text());
      say("");
    } catch (error) { failed(error); }
    clearInterval(clock);
    state.textContent = "";
    button.disabled = text.disabled = false;
  };
  const download = (content, kind, name) => {
    const url = URL.createObjectURL(new Blob([content], { type: kind }));
    h("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  };
  const show = (content) => {
    picture = content;
    // Its own style and script are for the file by itself; here they are in the page already.
    const drawing = content.replace(/<style>.*?<\/style>/s, "").replace(/<script>.*<\/script>/s, "");
    const svg = new DOMParser().parseFromString(drawing, "image/svg+xml").documentElement;
    place.replaceChildren(document.adoptNode(svg));
    place.hidden = save.hidden = false;
    flameGraph(svg);
  };
  form.addEventListener("submit", (event) => { event.preventDefault(); busy("svg", show); });
  text.addEventListener("click", () => busy("folded", (content) => download(content, "text/plain", "profile.folded")));
  save.addEventListener("click", () => download(picture, "image/svg+xml", "profile.svg"));
  main.append(form, place);
  if (query.has("seconds")) form.requestSubmit();
}

function pages() {
  return [
    { path: "/", title: "Overview", about: "what this process is", show: overview },
    { path: "/debug/state", title: "State", about: "pools, coalescers, consumers, caches, outbox", show: state, search: true },
    { path: "/debug/logs", title: "Log", about: "its last lines", show: logs, search: true, one: true },
    { path: "/debug/tasks", title: "Tasks", about: "what the event loop's tasks wait for", show: tasks, search: true, one: true },
    { path: "/debug/profile", title: "Profile", about: "where the CPU time goes, as a flame graph", one: true },
    ...(about.metrics === false ? [] : [{ path: "/metrics", title: "Metrics", about: "as Prometheus scrapes them", show: metrics, search: true }]),
    { path: "/config", title: "Settings", about: "what is in effect, and where it came from", show: config, search: true },
  ];
}

const link = (path) => (worker && path !== "/" ? `${path}?worker=${encodeURIComponent(worker)}` : path);

function failed(error) {
  if (error instanceof Refused) askForToken(error.message);
  else say(error.message);
}

let shown = { page: null, place: null, controls: null, busy: false };

async function update() {
  const { page, place, controls, busy } = shown;
  if (busy || !page.show || controls === null) return;
  shown.busy = true;
  try {
    if (page.path === "/") about = await json("/");
    const pattern = controls.querySelector("input[type=search]")?.value.trim().toLowerCase() || "";
    const words = (text) => pattern.split(/\s+/).every((word) => text.toLowerCase().includes(word));
    const content = await page.show(words, controls);
    const open = new Set([...place.querySelectorAll("details[open][data-key]")].map((one) => one.dataset.key));
    const kept = place.querySelector("[data-keep]");
    const atEnd = innerHeight + scrollY >= document.documentElement.scrollHeight - 40;
    const first = !place.hasChildNodes();
    place.replaceChildren(...[content].flat(Infinity).filter((one) => one));
    for (const one of place.querySelectorAll("details[data-key]")) one.open = open.has(one.dataset.key);
    if (kept?.contains(document.activeElement) || kept?.querySelector("[role=status]")?.textContent) place.querySelector("[data-keep]")?.replaceWith(kept);
    if (page.path === "/debug/logs" && (first || atEnd)) scrollTo(0, document.documentElement.scrollHeight);
    say("");
  } catch (error) { failed(error); } finally { shown.busy = false; }
}

function setUpWorkers(page) {
  const numbers = (about.workers || []).map((one) => String(one.worker));
  $(".worker").hidden = !numbers.length || page.path === "/";
  if (!numbers.length) { worker = ""; return; }
  if (page.one && !numbers.includes(worker)) [worker] = numbers;
  const choice = $(".worker select");
  choice.replaceChildren(...(page.one ? [] : [h("option", { value: "" }, "all")]), ...numbers.map((number) => h("option", { value: number, selected: number === worker }, number)));
  choice.onchange = () => { location.search = choice.value ? `?worker=${choice.value}` : ""; };
}

async function start() {
  takeTokenFromFragment();
  main.replaceChildren();
  $(".forget").hidden = !sessionStorage.getItem(TOKEN);
  try { about = await json("/"); } catch (error) { failed(error); return; }
  const all = pages();
  const page = all.find((one) => one.path === location.pathname) || (location.pathname === "/log/level" ? { path: "/log/level", title: "Log level", about: "the least important records that are written", show: level } : all[0]);
  setUpWorkers(page);
  document.title = `${clean(about.service)} · ${page.title}`;
  $(".brand").textContent = clean(about.service);
  $("nav").replaceChildren(...all.map((one) => h("a", { href: link(one.path), "aria-current": one.path === page.path ? "page" : null }, one.title)));
  $(".refresh").hidden = !page.show;
  if (page.path !== "/") main.append(h("h1", {}, page.title), h("p", { class: "about" }, page.about));
  if (!page.show) { profilePage(); return; }
  const controls = h("div", { class: "bar", hidden: !page.search });
  if (page.search) controls.append(h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter", value: query.get("filter") || "" }));
  if (page.path === "/debug/logs") controls.append(h("label", {}, "from ", h("select", {}, LEVELS.map((one) => h("option", { value: one, selected: one === "debug" }, one)))));
  controls.addEventListener("input", update);
  const place = h("div", {});
  main.append(controls, place);
  shown = { page, place, controls, busy: false };
  await update();
}

const refresh = $(".refresh input");
refresh.checked = sessionStorage.getItem(REFRESH) === "on";
refresh.addEventListener("change", () => { sessionStorage.setItem(REFRESH, refresh.checked ? "on" : "off"); if (refresh.checked) update(); });
setInterval(() => { if (refresh.checked && !document.hidden && shown.page) update(); }, EVERY);
$(".forget").addEventListener("click", () => { sessionStorage.removeItem(TOKEN); location.reload(); });
start();
