// One chart with its heading, release classes, legend, tooltip and downloads.

import { described, layout, tooltip, traces } from "./chart.js";
import { doing, focused, isOver, statusOf } from "./tiles.js";
import { el, plain, say } from "./text.js";

const CONFIG = {
  displaylogo: false, displayModeBar: "hover", responsive: false, scrollZoom: false, doubleClick: "reset",
  // Named one by one: none that sends data anywhere.
  modeBarButtons: [["zoom2d", "pan2d", "resetScale2d"]],
};

const HOLDER = { type: "scatter", x: [null], y: [null], hoverinfo: "skip", showlegend: false };

// A short piece of a line in its colour and dash.
const DASH_ARRAYS = { solid: "", dash: "7 4", dot: "2 3", dashdot: "7 3 2 3" };
function swatch(colour, dash) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of Object.entries({ width: 26, height: 8, "aria-hidden": "true" })) svg.setAttribute(name, value);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  const drawn = { x1: 1, y1: 4, x2: 25, y2: 4, stroke: colour, "stroke-width": 3, "stroke-dasharray": DASH_ARRAYS[dash] ?? "" };
  for (const [name, value] of Object.entries(drawn)) line.setAttribute(name, value);
  svg.append(line);
  return svg;
}

export class ChartPanel {
  constructor(spec, { height, onToggle, look, first }) {
    Object.assign(this, { spec, look, first, drawn: false, hovered: null, found: [], dirty: true, visible: false });
    this.plot = el("div", { class: "privlab-plot", role: "img", "data-testid": `live-chart-${spec.key}` });
    this.legend = el("div", { class: "privlab-legend", role: "group", "aria-label": `Lines of ${spec.title}` });
    this.message = el("div", { class: "privlab-message", "data-testid": `live-message-${spec.key}` });
    this.tip = el("div", { class: "privlab-tip", role: "presentation", hidden: true });
    this.onToggle = onToggle;
    const save = (kind) =>
      el("button", { type: "button", class: "privlab-small", title: `Download “${spec.title}” as ${kind.toUpperCase()}`,
                     onclick: () => this.download(kind) }, kind.toUpperCase());
    this.node = el("section", { class: "privlab-panel", style: `height:${height}`, "aria-label": spec.title },
      el("header", { class: "privlab-head" },
        el("h4", { class: "privlab-title", title: spec.help || null }, spec.title),
        ...spec.releases.map((release) => el("span", { class: "privlab-badge", title: release.about }, release.name)),
        el("span", { class: "privlab-space" }), save("png"), save("svg")),
      this.legend,
      el("div", { class: "privlab-plotbox" }, this.plot, this.message, this.tip));
  }

  // Draws what is there now. `alone` says whether this is the only chart, whose legend names the runs.
  draw(Plotly, runs, alone) {
    this.dirty = false;
    const look = this.look();
    this.found = traces(this.spec, runs, look);
    // First what takes room beside the plot, then the plot in the room that is left.
    this.drawLegend(runs, alone, look);
    const data = this.found.map((item) => item.trace);
    // Levels alone have their own x axis; without a trace on the other one, Plotly would not draw that.
    if (data.length && data.every((trace) => trace.xaxis === "x2")) data.push(HOLDER);
    const picture = layout(this.spec, runs, look, this.found, this.plot.getBoundingClientRect(), this.zoomed());
    const done = Plotly.react(this.plot, data, picture, CONFIG);
    if (!this.drawn) {
      this.drawn = true;
      done.then(() => {
        this.plot.on("plotly_hover", (event) => this.hover(event));
        this.plot.on("plotly_unhover", () => this.unhover());
        // A zoom ends it; a chart that only changes its size, or redraws, does not.
        this.plot.on("plotly_relayout", (change) => Object.keys(change).some((key) => key.includes("axis")) && this.unhover());
      });
    }
    this.plot.setAttribute("aria-label", described(this.spec, runs, look));
    this.drawMessage(runs, look);
    if (this.hovered) this.fillTip();
    return done;
  }

  // The ranges that the person zoomed to, null where the chart chooses its own.
  zoomed() {
    const axes = this.plot._fullLayout;
    const range = (axis) => (axis && !axis.autorange && axis.range ? axis.range : null);
    return { x: range(axes?.xaxis), y: range(axes?.yaxis) };
  }

  drawLegend(runs, alone, look) {
    const entries = new Map();
    // A run without points has no line yet, but its name and state belong there.
    if (alone && this.spec.metrics.length === 1) {
      for (const run of runs) entries.set(run.id, { id: run.id, name: run.label, colour: run.colour, dash: run.dash, run });
    } else {
      for (const { info } of this.found) if (info.id) entries.set(info.id, info);
    }
    this.legend.classList.toggle("privlab-kept", alone);
    const wanted = alone || entries.size > 1 ? [...entries.values()] : [];
    const text = (entry) => {
      const status = alone && entry.run ? statusOf(entry.run) : "";
      return status && status !== "finished" && status !== "running" ? `${entry.name} (${doing(entry.run)})` : entry.name;
    };
    const shape = JSON.stringify(wanted.map((entry) => [entry.id, entry.colour, entry.dash]));
    if (shape !== this.legendShape) {
      this.legendShape = shape;
      this.legend.replaceChildren(...wanted.map((entry) =>
        el("button", { type: "button", class: "privlab-chip", "data-id": entry.id, title: "Show or hide this line",
                       onclick: () => this.onToggle(entry.id) }, swatch(entry.colour, entry.dash), el("span"))));
    }
    [...this.legend.children].forEach((chip, i) => {
      say(chip.lastChild, text(wanted[i]));
      chip.setAttribute("aria-pressed", String(!look.hidden.has(wanted[i].id)));
    });
  }

  // What to say while there is no line to see.
  drawMessage(runs, look) {
    const lines = this.found.some(({ info }) => info.run);
    let text = "";
    if (!runs.length) text = this.first ? look.empty : "";
    else if (!lines) text = waiting(runs, this.spec);
    say(this.message, text);
    this.message.hidden = !text;
  }

  hover(event) {
    const point = event.points[0];
    const item = this.found[point.curveNumber];
    if (!item) return;
    const box = this.plot.getBoundingClientRect();
    this.hovered = { key: item.info.key, info: item.info, index: point.pointNumber };
    this.place = { x: event.event.clientX - box.left, y: event.event.clientY - box.top, width: box.width, height: box.height };
    this.fillTip();
  }

  unhover() {
    this.hovered = null;
    this.tip.hidden = true;
  }

  // The same point again after a redraw: its trace may have moved, its row has not.
  fillTip() {
    const { key, index } = this.hovered;
    const info = key ? this.found.find((item) => item.info.key === key)?.info : this.hovered.info;
    if (!info) return this.unhover();
    const [heading, ...rest] = tooltip(info, index);
    this.tip.replaceChildren(el("strong", {}, heading), ...rest.map((line) => el("div", {}, line)));
    this.tip.hidden = false;
    const { x, y, width, height } = this.place;
    const [w, h] = [this.tip.offsetWidth, this.tip.offsetHeight];
    this.tip.style.left = `${Math.max(0, x + 14 + w > width ? x - w - 14 : x + 14)}px`;
    this.tip.style.top = `${Math.max(0, Math.min(y - h / 2, height - h))}px`;
  }

  // A picture that stands alone: title, legend, release classes and a solid background.
  async download(kind) {
    const look = this.look();
    const { data, layout: shown } = this.plot;
    const classes = this.spec.releases.map((release) => release.name).join(", ");
    const picture = {
      ...shown, showlegend: true, legend: { orientation: "h", y: -0.2, traceorder: "normal" }, paper_bgcolor: look.background,
      plot_bgcolor: look.background, margin: { l: 70, r: 30, t: 76, b: 60 }, autosize: false,
      // The page's own font is not at hand where a picture is drawn, and another one's letters are wider.
      font: { ...shown.font, family: "sans-serif" },
      title: { text: plain(this.spec.title), subtitle: { text: plain(classes), font: { size: 13 } }, x: 0.02, xanchor: "left" },
    };
    await this.plotly.downloadImage({ data, layout: picture }, {
      format: kind, width: 1200, height: 700, scale: kind === "png" ? 2 : 1, filename: `privlab-${this.spec.key}`,
    });
  }

  resetZoom(Plotly) {
    if (this.drawn) Plotly.relayout(this.plot, { "xaxis.autorange": true, "yaxis.autorange": true });
  }

  resize(Plotly) {
    if (this.drawn && this.plot.offsetWidth) Plotly.Plots.resize(this.plot);
  }

  destroy(Plotly) {
    if (this.drawn) Plotly.purge(this.plot);
  }
}

function waiting(runs, spec) {
  const run = focused(runs);
  const status = statusOf(run);
  const note = run.data.state?.note;
  if (status === "failed") return `${run.label} failed. ${note ?? ""}`.trim();
  if (status === "unknown") return "This run is not in the store. It may have been deleted, or it belongs to another PrivLab folder.";
  if (run.data.length) return `No values of “${spec.title}” for these settings.`;
  if (isOver(status) || status === "paused") return `${run.label} is ${status} and has no points yet. ${note ?? ""}`.trim();
  if (status === "queued") return `${run.label} is queued: it starts when a place is free.`;
  return `Waiting for the first point of ${run.label} …`;
}
