// The page at /docs: Swagger UI, with what it has not. Its plugins can replace and wrap its parts:
// here the layout, the search, streams of events, gRPC methods, a token from the address, and ids
// that are filled in from answers. Nothing is fetched but openapi.json and what is tried.
"use strict";

const EVENT_STREAM = "text/event-stream";
const MAX_EVENTS = 200;


/** The token after "#token=", which is then removed from the address bar and the history. */
function takeToken() {
  const found = /^#token=([^&]+)$/.exec(location.hash);
  if (found === null) return null;
  history.replaceState(null, "", location.pathname + location.search);
  return decodeURIComponent(found[1]);
}

/** Who a JWT is of and until when, for display only; null for any other token. */
function claimsOf(token) {
  try {
    const text = atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"));
    const { sub, exp } = JSON.parse(text);
    return { subject: sub, expires: typeof exp === "number" ? new Date(exp * 1000) : null };
  } catch {
    return null;
  }
}

/** Dark or light: as chosen here before, else as the system is. */
const theme = {
  key: "docs-theme",
  system: matchMedia("(prefers-color-scheme: dark)"),
  get dark() {
    const chosen = localStorage.getItem(theme.key);
    return chosen === null ? theme.system.matches : chosen === "dark";
  },
  apply() {
    document.documentElement.classList.toggle("dark-mode", theme.dark);
  },
  toggle() {
    localStorage.setItem(theme.key, theme.dark ? "light" : "dark");
    theme.apply();
  },
};
theme.apply();
theme.system.addEventListener("change", theme.apply);

/** The name of the security scheme that takes a bearer token. */
function bearerScheme(spec) {
  const schemes = Object.entries(spec.components?.securitySchemes ?? {});
  return schemes.find(([, scheme]) => scheme.type === "http" && scheme.scheme === "bearer")?.[0];
}

function authorize(system, spec, token) {
  const name = bearerScheme(spec);
  if (name === undefined) return;
  const schema = spec.components.securitySchemes[name];
  system.authActions.authorizeWithPersistOption({ [name]: { name, value: token, schema } });
}


/** Splits text as it arrives into events: the format of server-sent events. */
class EventParser {
  #rest = "";
  #event = { data: [] };

  push(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?!$)/);
    this.#rest = lines.pop();
    return lines.map((line) => this.#line(line)).filter((event) => event !== null);
  }

  #line(line) {
    if (line === "") {
      const { name = "message", id = "", data } = this.#event;
      this.#event = { data: [] };
      return data.length === 0 ? null : { name, id, data: data.join("\n") };
    }
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (field === "event") this.#event.name = value;
    if (field === "id") this.#event.id = value;
    if (field === "data") this.#event.data.push(value);
    return null;
  }
}

class Stream {
  state = "idle"; // then open, and: ended by the service, stopped here, or broken
  events = [];
  count = 0;
  #abort = null;
  #listeners = new Set();

  get live() {
    return this.#abort !== null;
  }

  subscribe = (listener) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** In place of fetch: answers as soon as the stream is open, and goes on reading it. */
  open = async (url, request) => {
    this.stop();
    const abort = new AbortController();
    this.#abort = abort;
    this.events = [];
    this.count = 0;
    this.#changed("opening");
    try {
      const answer = await fetch(url, { ...request, signal: abort.signal });
      if (!answer.ok || !(answer.headers.get("content-type") ?? "").startsWith(EVENT_STREAM)) {
        this.#end(abort, "refused");
        return answer;
      }
      this.#changed("open");
      this.#read(answer.body, abort);
      return new Response("The events are listed above.", answer);
    } catch (error) {
      this.#end(abort, "broken");
      throw error;
    }
  };

  stop = () => {
    const abort = this.#abort;
    if (abort === null) return;
    this.#end(abort, "stopped");
    abort.abort();
  };

  clear = () => {
    this.events = [];
    this.count = 0;
    this.#changed(this.state);
  };

  async #read(body, abort) {
    const parser = new EventParser();
    try {
      const reader = body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        for (const event of parser.push(value)) this.#add(event);
      }
      this.#end(abort, "ended");
    } catch {
      this.#end(abort, "broken");
    }
  }

  #add(event) {
    this.count += 1;
    this.events = [{ ...event, number: this.count, at: new Date() }, ...this.events];
    this.events.length = Math.min(this.events.length, MAX_EVENTS);
    this.#changed("open");
  }

  #end(abort, state) {
    if (this.#abort !== abort) return; // ended before
    this.#abort = null;
    this.#changed(state);
  }

  #changed(state) {
    this.state = state;
    for (const listener of this.#listeners) listener();
  }
}

const streams = new Map();
function streamOf(path, method) {
  const key = `${method} ${path}`;
  if (!streams.has(key)) streams.set(key, new Stream());
  return streams.get(key);
}
addEventListener("pagehide", () => streams.forEach((stream) => stream.stop()));

function isStream(operation) {
  const responses = operation?.get?.("responses");
  return Boolean(responses?.some((one) => one.hasIn?.(["content", EVENT_STREAM])));
}

const STATES = {
  opening: "Connecting …",
  open: "Connected: events are shown as they come.",
  ended: "The service ended the stream. Its last event's id is where to go on.",
  stopped: "Stopped.",
  broken: "The connection broke.",
  refused: "The service refused: see the response below.",
};

function streamParts({ React }) {
  const h = React.createElement;
  const useStream = (path, method) => {
    const stream = streamOf(path, method);
    const [, redraw] = React.useReducer((n) => n + 1, 0);
    React.useEffect(() => stream.subscribe(redraw), [stream]);
    return stream;
  };

  const StartOrStop = ({ Start, props }) => {
    const stream = useStream(props.path, props.method);
    const stop = { className: "btn cancel execute opblock-control__btn", onClick: stream.stop };
    return stream.live ? h("button", stop, "Stop") : h(Start, props);
  };

  const Event = ({ event }) => {
    let data = event.data;
    try {
      data = JSON.stringify(JSON.parse(data), null, 2);
    } catch {
      // Not JSON: shown as it is.
    }
    return h("li", null,
      h("div", { className: "docs-event-head" },
        h("b", null, `#${event.number} ${event.name}`),
        h("time", null, event.at.toLocaleTimeString()),
        event.id && h("code", null, event.id)),
      h("pre", null, data));
  };

  const StreamPanel = ({ path, method }) => {
    const stream = useStream(path, method);
    React.useEffect(() => stream.stop, [stream]); // the operation was closed
    if (stream.state === "idle") return null;
    return h("section", { className: "docs-stream", "data-state": stream.state },
      h("header", null,
        h("h4", null, stream.count === 1 ? "1 event" : `${stream.count} events`),
        h("span", { role: "status" }, STATES[stream.state])),
      h("ol", null, stream.events.map((event) => h(Event, { key: event.number, event }))));
  };

  return {
    wrapComponents: {
      execute: (Execute) => {
        class Start extends Execute {
          render() {
            return React.cloneElement(super.render(), null, "Start");
          }
        }
        return (props) =>
          isStream(props.operation) ? h(StartOrStop, { Start, props }) : h(Execute, props);
      },
      responses: (Responses) => (props) =>
        h(React.Fragment, null,
          h(StreamPanel, { path: props.path, method: props.method }),
          h(Responses, props)),
    },
    statePlugins: {
      spec: {
        wrapActions: {
          executeRequest: (execute) => (request) => {
            if (!isStream(request.operation)) return execute(request);
            const { open } = streamOf(request.pathName, request.method);
            return execute({ ...request, userFetch: open });
          },
          clearResponse: (clear) => (path, method) => {
            streams.get(`${method} ${path}`)?.clear();
            return clear(path, method);
          },
        },
      },
    },
  };
}


/** The ids of what was made here, by the path that it has: newest first. */
const made = new Map();
/** The bodies that were filled in, so that one which was edited stays as it is. */
const filled = new Map();

/** After an answer with a Location: its ids are filled in where the same thing is asked for. */
function remember(system, spec, location) {
  const path = decodeURI(new URL(location, document.baseURI).pathname);
  for (const template of Object.keys(spec.paths)) {
    const names = [...template.matchAll(/\{([^}]+)\}/g)].map((found) => found[1]);
    const pattern = template.replace(/[.*+?^$()|[\]\\]/g, "\\$&").replace(/\{[^}]+\}/g, "([^/]+)");
    const found = new RegExp(`${pattern}$`).exec(path);
    if (found === null || names.length === 0) continue;
    made.set(template, [found.at(-1), ...(made.get(template) ?? [])]);
    fillPaths(system, spec, template, names, found.slice(1));
    fillBodies(system, spec, template);
  }
}

function fillPaths(system, spec, template, names, values) {
  for (const [path, methods] of Object.entries(spec.paths)) {
    if (path !== template && !path.startsWith(`${template}/`)) continue;
    for (const method of Object.keys(methods)) {
      names.forEach((name, n) =>
        system.specActions.changeParam([path, method], name, "path", values[n], false));
    }
  }
}

/** The fields of an operation's body that are the id of something: [name, kind] of each. */
function idFields(spec, operation) {
  const schema = operation.requestBody?.content?.["application/json"]?.schema;
  const properties = spec.components.schemas[schema?.$ref?.split("/").at(-1)]?.properties ?? {};
  return Object.entries(properties)
    .filter(([, property]) => "x-id-of" in property)
    .map(([name, property]) => [name, property["x-id-of"]]);
}

/** Fields that are the id of something ("x-id-of": "things") get those of "/…/things/{id}". */
function fillBodies(system, spec, template) {
  for (const [path, methods] of Object.entries(spec.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const fields = idFields(spec, operation)
        .filter(([, kind]) => kind === template.split("/").at(-2)).map(([name]) => name);
      const content = operation.requestBody?.content?.["application/json"];
      if (fields.length === 0 || content.example === undefined) continue;
      const body = structuredClone(content.example);
      fields.forEach((name, n) => { body[name] = made.get(template)[n] ?? body[name]; });
      const now = system.oas3Selectors.requestBodyValue(path, method);
      const ours = [null, JSON.stringify(content.example, null, 2), filled.get(operation)];
      if (!ours.includes(now)) continue;
      const value = JSON.stringify(body, null, 2);
      const pathMethod = [path, method];
      filled.set(operation, value);
      system.oas3Actions.setRetainRequestBodyValueFlag({ value: true, pathMethod });
      system.oas3Actions.setRequestBodyValue({ value, pathMethod });
    }
  }
}

function idParts(system, spec) {
  const h = system.React.createElement;
  return {
    wrapComponents: {
      execute: (Execute) => (props) => {
        const operation = spec.paths[props.path]?.[props.method] ?? {};
        const kinds = [...new Set(idFields(spec, operation).map(([, kind]) => kind))];
        const note = `The ids are those of sample data; ids of ${kinds.join(", ")} that you make on ` +
          "this page are filled in.";
        return h(system.React.Fragment, null,
          kinds.length > 0 && !filled.has(operation) && h("p", { className: "docs-hint" }, note),
          h(Execute, props));
      },
    },
    statePlugins: {
      spec: {
        wrapActions: {
          setResponse: (set) => (path, method, response) => {
            set(path, method, response);
            const location = response?.headers?.location;
            if (response?.ok && location) remember(system, spec, location);
          },
        },
      },
    },
  };
}


function matches(phrase, ...texts) {
  const text = texts.join(" ").toLowerCase();
  return phrase.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

const search = {
  fn: {
    opsFilter: (tagged, phrase) =>
      tagged
        .map((group, tag) =>
          group.update("operations", (operations) =>
            operations.filter((one) => {
              const operation = one.get("operation");
              const texts = ["summary", "description", "operationId"].map((name) => operation.get(name, ""));
              return matches(phrase, tag, one.get("method"), one.get("path"), ...texts);
            })))
        .filter((group) => group.get("operations").size > 0),
  },
};


const snippets = {
  fn: {
    requestSnippetGenerator_python: (request) => {
      const text = (value) => JSON.stringify(value);
      const headers = request.get("headers")?.toJS() ?? {};
      const body = request.get("body");
      const lines = Object.entries(headers).map(([name, value]) => `        ${text(name)}: ${text(value)},`);
      return [
        "import httpx",
        "",
        "response = httpx.request(",
        `    ${text(request.get("method").toUpperCase())},`,
        `    ${text(request.get("url"))},`,
        ...(lines.length ? ["    headers={", ...lines, "    },"] : []),
        ...(typeof body === "string" ? [`    content=${text(body)},`] : []),
        ")",
        "print(response.status_code, response.text)",
      ].join("\n");
    },
  },
};


function layoutParts(system, spec) {
  const { React } = system;
  const h = React.createElement;
  const grpc = spec["x-grpc"];

  const currentPhrase = () => {
    const phrase = system.layoutSelectors.currentFilter();
    return typeof phrase === "string" ? phrase : "";
  };

  const tokenInUse = () => {
    const authorized = system.authSelectors.authorized()?.toJS() ?? {};
    return authorized[bearerScheme(spec)]?.value ?? null;
  };

  const scrollTo = (id) => document.getElementById(id)?.scrollIntoView({ block: "start" });

  /** Opens an operation as its deep link does. */
  const show = (event, tag, id) => {
    event.preventDefault();
    system.layoutActions.show(["operations-tag", tag], true);
    system.layoutActions.show(["operations", tag, id], true);
    history.replaceState(null, "", `#/${encodeURIComponent(tag)}/${encodeURIComponent(id)}`);
    requestAnimationFrame(() => scrollTo(`operations-${tag}-${id}`.replace(/ /g, "_")));
  };

  /** What the parent folders of all paths begin with: "/api/v1" of "/api/v1/a" and "/api/v1/a/b". */
  const commonParent = (paths) => {
    const parents = paths.map((path) => path.split("/").slice(0, -1));
    const same = parents[0].findIndex((part, n) => parents.some((other) => other[n] !== part));
    return parents[0].slice(0, same === -1 ? undefined : same).join("/");
  };

  const grpcServices = (phrase) =>
    (grpc?.services ?? [])
      .map((service) => ({
        ...service,
        methods: service.methods.filter(
          (one) => phrase === "" || matches(phrase, "grpc", service.name, one.name, one.summary)),
      }))
      .filter((service) => service.methods.length > 0);

  const Search = () =>
    h("input", {
      type: "search",
      className: "docs-search",
      placeholder: "Search: path, method, words",
      "aria-label": "Search operations",
      value: currentPhrase(),
      onChange: (event) => system.layoutActions.updateFilter(event.target.value || true),
    });

  const WhoIsCalling = () => {
    const token = tokenInUse();
    const claims = token === null ? null : claimsOf(token);
    if (claims === null) return null;
    const over = claims.expires !== null && claims.expires < new Date();
    const until = claims.expires === null ? "" : `until ${claims.expires.toLocaleString()}`;
    return h("span", { className: over ? "docs-who docs-over" : "docs-who", title: until },
      over ? `${claims.subject}: the token has expired` : claims.subject);
  };

  const Navigation = () => {
    const items = [];
    system.specSelectors.taggedOperations().forEach((group, tag) => {
      items.push(h("h2", { key: tag }, tag));
      const common = commonParent(group.get("operations").toArray().map((one) => one.get("path")));
      const operations = group.get("operations").toArray().map((one) => {
        const id = one.getIn(["operation", "operationId"]) ?? one.get("id");
        const method = one.get("method");
        return h("li", { key: one.get("id") },
          h("a", {
            href: `#/${tag}/${id}`,
            title: one.getIn(["operation", "summary"]),
            onClick: (event) => show(event, tag, id),
          },
            h("span", { className: "docs-method", "data-method": method }, method.toUpperCase()),
            h("span", { className: "docs-name" }, one.get("path").slice(common.length))));
      });
      items.push(h("ul", { key: `${tag} operations` }, operations));
    });
    for (const service of grpcServices(currentPhrase())) {
      const id = `grpc-${service.name}`;
      items.push(h("h2", { key: id }, service.name.split(".").pop()));
      items.push(h("ul", { key: `${id} methods` }, service.methods.map((one) =>
        h("li", { key: one.name },
          h("a", { href: `#${id}-${one.name}`, onClick: () => openMethod(`${id}-${one.name}`) },
            h("span", { className: "docs-method", "data-method": "grpc" }, "RPC"),
            h("span", { className: "docs-name" }, one.name))))));
    }
    return h("nav", { className: "docs-nav", "aria-label": "Operations" }, items);
  };

  const openMethod = (id) => {
    const details = document.getElementById(id);
    if (details !== null) details.open = true;
  };

  const grpcHost = () => {
    const host = location.hostname.includes(":") ? `[${location.hostname}]` : location.hostname;
    return `${host}:${grpc.port}`;
  };

  const quotedExample = (method) => JSON.stringify(method.example).replace(/'/g, "'\\''");

  const grpcurlOf = (service, method, token) => {
    const quoted = quotedExample(method);
    return [
      "grpcurl",
      ...(location.protocol === "https:" ? [] : ["-plaintext"]),
      ...(method.public ? [] : [`-H "authorization: Bearer ${token}"`]),
      ...(Object.keys(method.example).length ? [`-d '${quoted}'`] : []),
      grpcHost(),
      `${service.name}/${method.name}`,
    ].join(" \\\n  ");
  };

  /** The same call by Connect, as JSON. */
  const curlOf = (service, method, token) =>
    [
      `curl ${location.protocol}//${grpcHost()}/${service.name}/${method.name}`,
      ...(method.public ? [] : [`-H "authorization: Bearer ${token}"`]),
      '-H "content-type: application/json"',
      `-d '${quotedExample(method)}'`,
    ].join(" \\\n  ");

  const KINDS = {
    unary: "unary",
    stream: "server stream",
    client_stream: "client stream",
    exchange: "two-way stream",
  };

  const Command = ({ service, method, textOf }) => {
    const [copied, setCopied] = React.useState(false);
    const token = tokenInUse();
    const copy = async () => {
      await navigator.clipboard.writeText(textOf(service, method, token ?? "$TOKEN"));
      setCopied(true);
      setTimeout(() => setCopied(false), 1500);
    };
    return h("div", { className: "docs-command" },
      h("pre", null, textOf(service, method, "$TOKEN")),
      h("button", { className: "btn", onClick: copy },
        copied ? "Copied" : token === null || method.public ? "Copy" : "Copy with token"));
  };

  const Method = ({ service, method }) => {
    const scopes = method.scopes.length ? ` · needs ${method.scopes.join(" ")}` : "";
    return h("details", { className: "opblock docs-grpc", id: `grpc-${service.name}-${method.name}` },
      h("summary", { className: "opblock-summary" },
        h("span", { className: "opblock-summary-method" }, "RPC"),
        h("span", { className: "opblock-summary-path" }, method.name),
        h("span", { className: "opblock-summary-description" }, method.summary)),
      h("div", { className: "docs-grpc-body" },
        method.description && h("p", null, method.description),
        h("p", null, h("code", null, method.request), " → ", h("code", null, method.response),
          ` · ${KINDS[method.kind]}${scopes}`),
        method.kind === "unary" && h(Command, { service, method, textOf: curlOf }),
        h(Command, { service, method, textOf: grpcurlOf }),
        !grpc.reflection &&
          h("p", null, "Reflection is off: grpcurl needs the service's .proto files (-proto).")));
  };

  const GrpcMethods = () => {
    const services = grpcServices(currentPhrase());
    return h("section", { className: "docs-grpc-services", "aria-label": "gRPC" }, services.map((service) =>
      h("div", { key: service.name, className: "opblock-tag-section" },
        h("h3", { className: "opblock-tag no-desc" }, service.name,
          h("small", null, `gRPC, port ${grpc.port}`)),
        service.methods.map((method) => h(Method, { key: method.name, service, method })))));
  };

  // Redrawn with the layout, whose properties change with the state that these read.
  const Layout = ({ getComponent, authSelectors, layoutSelectors, specSelectors }) => {
    const part = (name) => h(getComponent(name, true));
    const info = specSelectors.info();
    const description = info.get("description");
    const nothing = currentPhrase() !== "" && specSelectors.taggedOperations().size === 0 &&
      grpcServices(currentPhrase()).length === 0;
    void authSelectors.authorized();
    void layoutSelectors.currentFilter();
    return h("div", { className: "swagger-ui docs" },
      h(getComponent("SvgAssets")),
      h("header", { className: "docs-bar" },
        h("h1", null, info.get("title"), h("small", null, info.get("version"))),
        h(Search),
        h("div", { className: "docs-tools" },
          h(WhoIsCalling),
          bearerScheme(spec) === undefined ? null : part("AuthorizeBtnContainer"),
          h("button", { className: "docs-theme", onClick: theme.toggle, title: "Dark or light", "aria-label": "Dark or light" }, "◐"),
          h("a", { href: "openapi.json" }, "openapi.json"))),
      h("div", { className: "docs-body" },
        h(Navigation),
        h("main", null,
          part("errors"),
          description ? h(getComponent("Markdown", true), { source: description }) : null,
          part("operations"),
          h(GrpcMethods),
          nothing ? h("p", { className: "docs-note" }, "Nothing matches.") : null,
          part("Models"))));
  };

  return { components: { DocsLayout: Layout } };
}


async function start() {
  const token = takeToken();
  const answer = await fetch("openapi.json");
  if (!answer.ok) throw new Error(`the service answered ${answer.status}`);
  const spec = await answer.json();
  document.title = `${spec.info.title} API`;
  // Requests go where this page is, below a proxy's prefix, too.
  spec.servers ??= [{ url: new URL(".", document.baseURI).href.replace(/\/$/, "") }];

  const ui = SwaggerUIBundle({
    spec,
    dom_id: "#docs",
    layout: "DocsLayout",
    plugins: [
      streamParts,
      (system) => idParts(system, spec),
      () => search,
      () => snippets,
      (system) => layoutParts(system, spec),
    ],
    deepLinking: true,
    defaultModelsExpandDepth: 0,
    defaultModelRendering: "example",
    displayRequestDuration: true,
    filter: true,
    persistAuthorization: true,
    requestSnippetsEnabled: true,
    requestSnippets: {
      generators: {
        curl_bash: { title: "curl", syntax: "bash" },
        python: { title: "Python (httpx)", syntax: "python" },
        curl_powershell: { title: "curl (PowerShell)", syntax: "powershell" },
      },
      languages: ["curl_bash", "python", "curl_powershell"],
    },
    tryItOutEnabled: true,
    validatorUrl: null,
    onComplete: () => {
      if (token !== null) authorize(ui.getSystem(), spec, token);
      addEventListener("hashchange", () => {
        const later = takeToken();
        if (later !== null) authorize(ui.getSystem(), spec, later);
      });
    },
  });
}

start().catch((error) => {
  const note = document.createElement("p");
  note.className = "docs-note";
  note.textContent = `openapi.json could not be shown: ${error.message}. Is the service still running?`;
  document.getElementById("docs").replaceChildren(note);
});
