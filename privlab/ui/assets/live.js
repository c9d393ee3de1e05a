// The live panel: keeps one instance per place in the page, over reruns of the script.

import { RunData } from "./data.js";
import { loadPlotly } from "./library.js";
import { ChartPanel } from "./panel.js";
import { keep, leave } from "./place.js";
import { Feed } from "./socket.js";
import { TILE_METRICS, Tiles, doing, focused, isOver, statusOf } from "./tiles.js";
import { el, say } from "./text.js";

let styled = null;

function loadStyles(address) {
  styled ??= new Promise((resolve) => {
    const link = el("link", { rel: "stylesheet", href: address });
    link.onload = link.onerror = resolve;
    document.head.append(link);
  });
  return styled;
}

// Streamlit calls this at the first mount and again whenever data or theme change.
export async function mount(component) {
  const { parentElement, data } = component;
  await loadStyles(data.files.css);
  keep(parentElement, ".privlab-live", (root) => new LivePanel(root, component))?.update(component);
  return leave(parentElement);
}

class LivePanel {
  constructor(root, { data }) {
    this.root = root;
    this.key = data.key;
    this.runs = [];
    this.panels = [];
    this.hidden = new Set();
    this.revision = 0;
    this.told = new Map();
    this.prefs = { axis: data.x, log: true, marks: true, ...remembered(data.key) };
    this.feed = new Feed({
      have: () => Object.fromEntries(this.runs.map((run) => [run.id, run.data.lastStep])),
      hear: (message) => this.hear(message),
      status: (text) => this.connection(text),
      renew: () => this.component.setTriggerValue("renew", Date.now()),
    });
    this.build(data);
    loadPlotly(data.files.plotly).then(
      (Plotly) => {
        this.Plotly = Plotly;
        this.redraw();
      },
      (error) => this.panels.forEach((panel) => Object.assign(panel.message, { hidden: false, textContent: error.message })),
    );
  }

  build(data) {
    const axisNames = { epsilon: "ε", step: "step", epoch: "epoch", seconds: "seconds" };
    const toggle = (text, title, pressed, press) => {
      const button = el("button", { type: "button", class: "privlab-button", title, onclick: () => press() }, text);
      this.refreshers.push(() => button.setAttribute("aria-pressed", String(pressed())));
      return button;
    };
    this.refreshers = [];
    this.badge = el("span", { class: "privlab-connection", role: "status" });
    const axes = Object.entries(axisNames).map(([axis, text]) =>
      toggle(text, `x axis: ${data.axes[axis]}`, () => this.prefs.axis === axis, () => this.choose({ axis })));
    this.log = toggle("log ε", "Logarithmic ε axis", () => this.prefs.log, () => this.choose({ log: !this.prefs.log }));
    this.marks = toggle("published results", "Published results of the same data set", () => this.prefs.marks,
      () => this.choose({ marks: !this.prefs.marks }));
    const reset = el("button", { type: "button", class: "privlab-button", onclick: () => this.panels.forEach((p) => p.resetZoom(this.Plotly)) },
      "reset zoom");
    this.toolbar = el("div", { class: "privlab-toolbar", role: "toolbar", "aria-label": "Chart settings" },
      el("span", { class: "privlab-group", role: "group", "aria-label": "x axis" }, el("span", { class: "privlab-label" }, "x axis"), ...axes),
      this.log, this.marks, reset, el("span", { class: "privlab-space" }), this.badge);
    // Beside the name of the tiles' run, or at the end of the toolbar: it takes no line of its own.
    this.notes = el("span", { class: "privlab-notes", "data-testid": "live-notes" });
    this.announcer = el("div", { class: "privlab-hidden", role: "status", "aria-live": "polite", "data-testid": "live-announcer" });
    this.tilesBox = el("div", {});
    this.grid = el("div", { class: "privlab-grid" });
    this.root.replaceChildren(this.tilesBox, this.toolbar, this.grid, this.announcer);
    this.seen = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const panel = this.panels.find((p) => p.node === entry.target);
        if (panel) panel.visible = entry.isIntersecting;
      }
      this.schedule();
    }, { rootMargin: "200px" });
    this.sized = new ResizeObserver(() => this.panels.forEach((panel) => this.Plotly && panel.resize(this.Plotly)));
  }

  // New data from the script, or a new theme.
  update(component) {
    this.component = component;
    const { data } = component;
    this.data = data;
    const old = new Map(this.runs.map((run) => [run.id, run.data]));
    this.runs = data.runs.map((run) => ({ ...run, data: old.get(run.id) ?? new RunData() }));
    const specs = JSON.stringify([data.panels, data.height, data.columns]);
    if (specs !== this.specs) {
      this.specs = specs;
      this.buildPanels(data);
    }
    const tiles = JSON.stringify([data.tiles, data.tile_columns]);
    if (tiles !== this.tileSpecs) {
      this.tileSpecs = tiles;
      this.tiles = data.tiles.length ? new Tiles(data.tiles, this.notes) : null;
      this.tilesBox.replaceChildren(...(this.tiles ? [this.tiles.node] : []));
      this.tilesBox.hidden = !this.tiles;
      if (!this.tiles) this.badge.before(this.notes);
      this.tilesBox.style.setProperty("--privlab-tile-columns", data.tile_columns);
    }
    this.marks.hidden = !data.marks.length || !data.panels.some((panel) => panel.marks);
    this.readTheme();
    const metrics = new Set(data.panels.flatMap((panel) => panel.metrics.map((metric) => metric.key)));
    if (this.tiles) TILE_METRICS.forEach((metric) => metrics.add(metric));
    this.feed.open(this.runs.length ? data.stream : null, [...metrics].sort());
    this.follow();
    this.redraw();
  }

  buildPanels(data) {
    this.panels.forEach((panel) => this.Plotly && panel.destroy(this.Plotly));
    this.seen.disconnect();
    this.sized.disconnect();
    const options = { height: data.height, onToggle: (id) => this.toggleLine(id), look: () => this.look() };
    this.panels = data.panels.map((spec, place) => new ChartPanel(spec, { ...options, first: place === 0 }));
    this.grid.style.setProperty("--privlab-columns", Math.min(data.columns, this.panels.length) || 1);
    this.grid.replaceChildren(...this.panels.map((panel) => panel.node));
    for (const panel of this.panels) {
      this.seen.observe(panel.node);
      this.sized.observe(panel.plot);
    }
  }

  readTheme() {
    const style = getComputedStyle(this.root);
    const read = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
    this.theme = {
      text: read("--st-text-color", "#222"),
      background: read("--st-background-color", "#fff"),
      grid: read("--st-border-color-light", "") || read("--st-border-color", "#ddd"),
      font: read("--st-font", "sans-serif"),
    };
  }

  look() {
    return {
      ...this.theme, axis: this.prefs.axis, log: this.prefs.log, marksOn: this.prefs.marks, marks: this.data.marks, axes: this.data.axes,
      colours: this.data.colours, empty: this.data.empty, hidden: this.hidden, revision: this.revision,
    };
  }

  hear(message) {
    if ("problem" in message) this.problem = message.problem;
    let whole = true;
    for (const run of this.runs) {
      const item = message.runs?.[run.id];
      if (item) whole = run.data.apply(item) && whole;
    }
    if (!whole) this.feed.resync();
    this.follow();
    this.redraw();
  }

  // Says once what has ended, and lets the page around the panel follow, if it asked for that.
  follow() {
    let rerun = null;
    for (const run of this.runs) {
      const status = run.data.state?.status;
      if (!status) continue;
      const before = this.told.get(run.id);
      this.told.set(run.id, status);
      if (before && before !== status && (status === "finished" || status === "failed")) {
        const note = run.data.state.note;
        say(this.announcer, `${run.label} ${status}.${note ? ` ${note}` : ""}`);
      }
      if (this.data.rerun_on_status && run.status && run.status !== status) rerun = `${rerun ?? ""}${run.id}:${status} `;
    }
    // Once per change: a page that does not take the new status over is not asked again and again.
    if (rerun && rerun !== this.asked) this.component.setTriggerValue("status", rerun);
    this.asked = rerun;
  }

  connection(text) {
    say(this.badge, text);
  }

  choose(change) {
    Object.assign(this.prefs, change);
    remember(this.key, this.prefs);
    this.redraw();
  }

  toggleLine(id) {
    if (!this.hidden.delete(id)) this.hidden.add(id);
    this.redraw();
  }

  redraw() {
    this.panels.forEach((panel) => (panel.dirty = true));
    this.schedule();
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  draw() {
    this.refreshers.forEach((refresh) => refresh());
    this.log.disabled = this.prefs.axis !== "epsilon";
    this.marks.disabled = this.prefs.axis !== "epsilon";
    this.tiles?.show(focused(this.runs));
    this.drawNotes();
    if (!this.Plotly) return;
    this.revision += 1;
    for (const panel of this.panels) {
      panel.plotly = this.Plotly;
      if (panel.dirty && panel.visible) panel.draw(this.Plotly, this.runs, this.panels.length === 1);
    }
  }

  drawNotes() {
    const notes = this.runs
      .filter((run) => ["failed", "paused", "deleted", "unknown"].includes(statusOf(run)))
      .map((run) => `${run.label}: ${doing(run)}. ${run.data.state?.note ?? ""}`.trim());
    if (this.problem) notes.unshift(this.problem);
    say(this.notes, notes.join("  ·  "));
    this.notes.title = notes.join("\n");
  }

  destroy() {
    this.feed.close();
    cancelAnimationFrame(this.frame);
    this.seen.disconnect();
    this.sized.disconnect();
    if (this.Plotly) this.panels.forEach((panel) => panel.destroy(this.Plotly));
    this.panels = [];
  }
}

// The toolbar's choices, kept by the browser. It may refuse to keep anything (private windows); then they last as long as the page.
const shelf = (key) => `privlab.live.${key}`;

function remembered(key) {
  try {
    return JSON.parse(localStorage.getItem(shelf(key))) ?? {};
  } catch {
    return {};
  }
}

function remember(key, prefs) {
  try {
    localStorage.setItem(shelf(key), JSON.stringify(prefs));
  } catch (error) {
    console.info("PrivLab: the chart settings are not remembered:", error.message);
  }
}
