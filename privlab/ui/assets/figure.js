// A Plotly figure that answers a hand: the page is told where its reading lines were dragged to (each stays upright or level)
// and which mark was clicked. New data are drawn into the same chart, so that zoom and hover stay.

import { loadPlotly } from "./library.js";
import { keep, leave } from "./place.js";

const CONFIG = {
  displaylogo: false, displayModeBar: "hover", responsive: true, scrollZoom: false, doubleClick: "reset",
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
};

// Pixels from the middle of a mark within which a click means it.
const REACH = 10;

// Streamlit calls this at the first mount and again whenever data or theme change.
export function mount(component) {
  keep(component.parentElement, ".privlab-figure", (root) => new Figure(root))?.update(component);
  return leave(component.parentElement);
}

class Figure {
  constructor(root) {
    this.root = root;
    this.gone = false;
  }

  async update(component) {
    this.component = component;
    const { data } = component;
    this.Plotly = await loadPlotly(data.plotly);
    if (this.gone || component !== this.component) return;
    const figure = JSON.parse(data.figure);
    const picture = JSON.stringify([data.figure, this.theme()]);
    if (picture === this.picture) return;
    this.picture = picture;
    const config = { ...CONFIG, edits: { shapePosition: data.drags } };
    await this.Plotly.react(this.root, figure.data, { ...figure.layout, ...this.looks(figure.layout) }, config);
    if (!this.listening) {
      this.listening = true;
      this.root.on("plotly_relayout", (change) => this.moved(change));
      this.root.on("plotly_click", ({ points }) => this.clicked(points));
      this.root.addEventListener("click", (event) => this.clickedLine(event));
      this.root.on("plotly_hover", ({ points }) => this.point(this.idOf(points) != null));
      this.root.on("plotly_unhover", () => this.point(false));
    }
    this.root.setAttribute("aria-label", data.label);
  }

  theme() {
    const style = getComputedStyle(this.root);
    const read = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
    return {
      text: read("--st-text-color", "#222"), background: read("--st-background-color", "#fff"),
      grid: read("--st-border-color-light", "") || read("--st-border-color", "#ddd"), font: read("--st-font", "sans-serif"),
    };
  }

  // The page's light or dark theme; the figure itself has no colours of paper and ink.
  looks(layout) {
    const { text, background, grid, font } = this.theme();
    const axis = (name) => ({ ...layout[name], gridcolor: grid, linecolor: grid, zerolinecolor: grid });
    return {
      // A zoom and hidden lines stay over new data of the same figure.
      uirevision: "kept", autosize: true,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { ...layout.font, color: text, family: font },
      title: { ...layout.title, x: 0, xanchor: "left", font: { ...layout.title?.font, weight: 600 } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: text, activecolor: text },
      // Every line can be dragged at once; Plotly's own editing would want a click first, and let it be tilted.
      shapes: (layout.shapes ?? []).map((shape) => ({ ...shape, editable: false })),
      hoverlabel: { bgcolor: background, bordercolor: grid, font: { color: text } }, xaxis: axis("xaxis"), yaxis: axis("yaxis"),
    };
  }

  // A line was dragged by its middle or by an end: it goes where that went, straight again.
  moved(change) {
    if (!this.component.data.drags) return;
    const found = Object.keys(change).map((key) => /^shapes\[(\d+)\]\.[xy][01]$/.exec(key)).find(Boolean);
    if (!found || this.straightening) return;
    const place = Number(found[1]);
    const shape = this.root.layout.shapes[place];
    const upright = shape.yref === "paper";
    const axis = upright ? "x" : "y";
    const before = this.at?.[place] ?? shape[`${axis}0`];
    const ends = [shape[`${axis}0`], shape[`${axis}1`]].map(Number);
    // The end that moved says where to.
    const value = Math.abs(ends[0] - before) > Math.abs(ends[1] - before) ? ends[0] : ends[1];
    const other = upright ? "y" : "x";
    const straight = { [`${axis}0`]: value, [`${axis}1`]: value, [`${other}0`]: 0, [`${other}1`]: 1 };
    this.straightening = true;
    const named = Object.fromEntries(Object.entries(straight).map(([key, v]) => [`shapes[${place}].${key}`, v]));
    this.Plotly.relayout(this.root, named).finally(() => { this.straightening = false; });
    if (value > 0) this.component.setTriggerValue("moved", { name: shape.name, value });
  }

  // What can be chosen has an id; reading aids and published results have none.
  idOf(points) {
    return this.component.data.clicks ? points.map((point) => point.id).find((id) => id != null) : undefined;
  }

  clicked(points) {
    const id = this.idOf(points);
    if (id != null) this.component.setTriggerValue("clicked", String(id));
  }

  // A line lies over a mark and takes its clicks: the mark nearest to the pointer is meant, if there is one.
  clickedLine({ target, clientX, clientY }) {
    if (!this.component.data.clicks || !target.closest?.(".shapelayer")) return;
    const box = this.root.getBoundingClientRect();
    const { xaxis, yaxis } = this.root._fullLayout;
    const [x, y] = [clientX - box.x - xaxis._offset, clientY - box.y - yaxis._offset];
    const marks = this.root._fullData
      .filter((trace) => trace.ids && trace.visible === true && trace.xaxis === "x")
      .flatMap((trace) => Array.from(trace.ids, (id, place) => (
        { id, away: Math.hypot(xaxis.d2p(trace.x[place]) - x, yaxis.d2p(trace.y[place]) - y) })));
    const near = marks.filter(({ away }) => away <= REACH).sort((a, b) => a.away - b.away)[0];
    if (near) this.component.setTriggerValue("clicked", String(near.id));
  }

  // The hand over what can be clicked.
  point(here) {
    const plane = this.root.querySelector(".nsewdrag");
    if (plane) plane.style.cursor = here ? "pointer" : "";
  }

  destroy() {
    this.gone = true;
    if (this.Plotly && this.listening) this.Plotly.purge(this.root);
  }
}
