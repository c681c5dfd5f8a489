"use strict";
// Zoom, search and keys for a flame graph. One file for both places where the graph is shown: it is
// inside the SVG file, and the admin pages load it. The server has drawn every frame; this only
// moves what is there, to the width that there is. Frames come in the order parent, first child, …

function flameGraph(svg) {
  const SVG = "http://www.w3.org/2000/svg", HTML = "http://www.w3.org/1999/xhtml";
  const HINT = "Click or Enter zooms, arrow keys move, Escape shows all again.";
  const ROW = 18, LETTER = 6.7, EDGE = 4;
  const HEAD = Number(svg.dataset.head);
  const details = svg.querySelector(".details");
  const open = [];
  const frames = [...svg.querySelectorAll(".frame")].map((group) => {
    const { x, w, d, name, facts } = group.dataset;
    const frame = { group, x: +x, w: +w, depth: +d, name, facts, parent: open[d - 1] || null };
    frame.rect = group.querySelector("rect");
    frame.text = group.querySelector("text");
    open[d] = frame;
    return frame;
  });
  const of = new Map(frames.map((frame) => [frame.group, frame]));
  const root = frames[0];
  let zoomed = root, current = root, width = 0;

  // The longest ending of the name, from a dot on, that fits: what it says most is at its end.
  function label(whole, letters) {
    let name = whole.replaceAll("<locals>.", "");
    while (name.length > letters) {
      const dot = name.indexOf(".");
      if (dot < 0) return letters > 3 ? name.slice(0, letters - 1) + "…" : "";
      name = name.slice(dot + 1);
    }
    return name;
  }

  function shown(frame) {
    return frame.group.getAttribute("visibility") !== "hidden";
  }

  function layOut() {
    width = Math.max(svg.clientWidth || svg.getBoundingClientRect().width || 1200, 240);
    const scale = width / (zoomed.w || 1);
    let deepest = 0;
    for (const frame of frames) {
      const from = Math.max(frame.x, zoomed.x);
      const to = Math.min(frame.x + frame.w, zoomed.x + zoomed.w);
      const size = (to - from) * scale;
      const visible = frame === zoomed || size >= 0.7;
      frame.group.setAttribute("visibility", visible ? "visible" : "hidden");
      frame.group.classList.toggle("above", frame.depth < zoomed.depth);
      if (!visible) continue;
      deepest = Math.max(deepest, frame.depth);
      const left = (from - zoomed.x) * scale;
      frame.rect.setAttribute("x", left.toFixed(1));
      frame.rect.setAttribute("width", Math.max(size - 0.5, 0.5).toFixed(1));
      frame.text.setAttribute("x", (left + EDGE).toFixed(1));
      frame.text.textContent = label(frame.name, Math.floor((size - 2 * EDGE) / LETTER));
    }
    const height = HEAD + (deepest + 1) * ROW + 6;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("height", height);
    tools.setAttribute("width", width);
  }

  function tell(frame) {
    const letters = Math.floor(width / LETTER / 1.1) - (frame ? frame.facts.length + 3 : 0);
    details.textContent = frame ? `${label(frame.name, Math.max(letters, 12))}   ${frame.facts}` : HINT;
  }

  function zoom(frame) {
    zoomed = frame;
    reset.disabled = frame === root;
    layOut();
    focus(frame);
  }

  function focus(frame) {
    if (!frame) return;
    current.group.setAttribute("tabindex", "-1");
    current = frame;
    frame.group.setAttribute("tabindex", "0");
    frame.group.focus({ preventScroll: false });
    tell(frame);
  }

  function search() {
    const words = field.value.trim();
    let pattern = null;
    if (words) {
      try { pattern = new RegExp(words, "i"); }
      catch { pattern = new RegExp(words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "i"); }
    }
    const hits = frames.filter((frame) => {
      const hit = pattern !== null && frame !== root && pattern.test(frame.name);
      frame.group.classList.toggle("hit", hit);
      return hit;
    });
    svg.classList.toggle("searching", pattern !== null);
    // What is inside a hit is counted with it; the frames come from the left to the right.
    let cost = 0, end = -1;
    for (const hit of hits) {
      if (hit.x < end) continue;
      cost += hit.w;
      end = hit.x + hit.w;
    }
    const share = (100 * cost) / (root.w || 1);
    found.textContent = pattern === null ? "" : hits.length ? `${share.toFixed(1)} % of all` : "not found";
  }

  function element(parent, name, properties) {
    const made = document.createElementNS(HTML, name);
    for (const [key, value] of Object.entries(properties)) made.setAttribute(key, value);
    parent.append(made);
    return made;
  }

  const tools = document.createElementNS(SVG, "foreignObject");
  tools.setAttribute("y", svg.dataset.tools);
  tools.setAttribute("height", "32");
  svg.querySelector(".hint")?.remove();
  svg.append(tools);
  const bar = element(tools, "div", { class: "flame-tools" });
  const field = element(bar, "input", { type: "search", placeholder: "Search ( / )", "aria-label": "Search functions, as a regular expression", spellcheck: "false" });
  const found = element(bar, "output", {});
  const reset = element(bar, "button", { type: "button", disabled: "", title: "Escape" });
  reset.textContent = "Whole graph";
  field.addEventListener("input", search);
  reset.addEventListener("click", () => zoom(root));

  const at = (event) => of.get(event.target.closest?.(".frame"));
  svg.addEventListener("click", (event) => at(event) && zoom(at(event)));
  svg.addEventListener("pointerover", (event) => at(event) && tell(at(event)));
  svg.addEventListener("pointerleave", () => tell(svg.contains(document.activeElement) ? current : null));
  svg.addEventListener("focusin", (event) => at(event) && tell(at(event)));
  svg.addEventListener("keydown", (event) => {
    if (event.target === field) {
      if (event.key === "Escape") { field.value = ""; search(); focus(current); }
      if (event.key === "Enter") focus(frames.find((one) => one.group.classList.contains("hit") && shown(one)));
      return;
    }
    const row = frames.filter((one) => one.depth === current.depth && shown(one));
    const steps = {
      ArrowUp: () => focus(current.parent),
      ArrowDown: () => focus(frames.find((one) => one.parent === current && shown(one))),
      ArrowLeft: () => focus(row[row.indexOf(current) - 1]),
      ArrowRight: () => focus(row[row.indexOf(current) + 1]),
      Enter: () => zoom(current),
      " ": () => zoom(current),
      Escape: () => zoom(root),
      "/": () => field.focus(),
    };
    if (event.target.closest("button") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (steps[event.key]) { event.preventDefault(); steps[event.key](); }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !svg.contains(event.target) && !event.target.closest?.("input,select,textarea") && svg.isConnected) { event.preventDefault(); field.focus(); }
  });
  new ResizeObserver(() => { if (Math.abs((svg.clientWidth || width) - width) > 1) layOut(); }).observe(svg);
  root.group.setAttribute("tabindex", "0");
  layOut();
  tell(null);
}

if (document.documentElement.localName === "svg") flameGraph(document.documentElement);
