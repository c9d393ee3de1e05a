// From runs and settings to Plotly traces and layout. No state, no DOM.

import { thinned } from "./data.js";
import { format, plain } from "./text.js";

const DASHES = ["solid", "dash", "dot", "dashdot"];
// Up to this many points a line shows its points too.
const DOTTED = 120;

// The x axis that a chart really has: ε says nothing where no run claims one.
export function axisOf(panel, runs, chosen) {
  const axis = panel.x ?? chosen;
  if (axis !== "epsilon" || panel.level) return axis;
  const known = runs.filter((run) => run.data.length);
  return known.length && !known.some((run) => run.data.has("epsilon")) ? "step" : axis;
}

// Traces of one panel with, beside each, what a tooltip and a legend need to know about it.
export function traces(panel, runs, look) {
  const axis = axisOf(panel, runs, look.axis);
  const several = panel.metrics.length > 1;
  const single = runs.length === 1;
  const found = [];
  let levels = 0;
  for (const run of runs) {
    panel.metrics.forEach((metric, index) => {
      const y = run.data.column(metric.key);
      if (!y || !run.data.has(metric.key)) return;
      const byMetric = several && single;
      const colour = byMetric ? look.colours[index % look.colours.length] : run.colour;
      const dash = panel.stacked && single ? "solid" : several ? DASHES[index % DASHES.length] : run.dash;
      const legend = byMetric
        ? { id: metric.key, name: metric.label, colour, dash, metric }
        : { id: several ? `${run.id} ${metric.key}` : run.id, colour, dash, metric, run,
            name: several ? `${run.label} · ${metric.label}` : run.label };
      const info = { ...legend, run, kind: "run", key: `${run.id} ${metric.key}`, share: panel.percent };
      const line = { color: colour, dash, width: run.active ? 2.5 : 1.5 };
      const shared = {
        name: plain(legend.name), type: "scatter", hoverinfo: "none", line, marker: { color: colour, symbol: run.symbol },
        opacity: run.active ? 1 : 0.7, visible: look.hidden.has(legend.id) ? "legendonly" : true,
      };
      if (axis === "epsilon" && !run.data.has("epsilon")) {
        const text = single ? "ε = ∞" : `ε = ∞ · ${plain(run.label)}`;
        const dashed = { ...line, dash: dash === "solid" ? "dash" : dash };
        found.push({
          info: { ...info, kind: "level-run" },
          trace: { ...shared, line: dashed, ...level(run.data.last(metric.key), text, levels++) },
        });
        return;
      }
      let x = run.data.column(axis);
      let values = y;
      const rows = thinned(y);
      if (rows) {
        x = picked(x, rows);
        values = picked(y, rows);
      }
      const stack = panel.stacked && single
        ? { stackgroup: "one", fillcolor: colour, line: { color: colour, width: 0.5 }, mode: "lines" }
        : { mode: values.length <= DOTTED ? "lines+markers" : "lines", marker: { ...shared.marker, size: 5 } };
      found.push({ info: { ...info, rows }, trace: { ...shared, ...stack, x, y: values } });
    });
  }
  for (const line of panel.levels) {
    const shape = level(line.value, plain(line.label), 0);
    found.push({
      info: { kind: "level", label: line.label },
      trace: { ...shape, type: "scatter", name: plain(line.label), hoverinfo: "none", line: { color: look.text, dash: "longdash", width: 1.5 } },
    });
  }
  if (panel.marks && axis === "epsilon" && look.marksOn && look.marks.length) found.push(published(look, found));
  return found;
}

function picked(values, rows) {
  const found = new Float64Array(rows.length);
  for (let i = 0; i < rows.length; i++) found[i] = values[rows[i]];
  return found;
}

// A line across the whole chart, whatever is zoomed into: on the hidden axis x2, which always runs from 0 to 1.
function level(value, text, turn) {
  const x = Array.from({ length: 33 }, (_, i) => i / 32);
  const labels = x.map(() => "");
  labels[1 + ((6 * turn) % 24)] = text;
  return { x, y: x.map(() => value), text: labels, mode: "lines+text", textposition: "top right", xaxis: "x2", yaxis: "y", cliponaxis: false };
}

function published(look, found) {
  const marks = [...look.marks].sort((a, b) => a.value - b.value || a.epsilon - b.epsilon);
  const [left, right] = extent([...found.filter((f) => f.info.kind === "run").map((f) => f.trace.x), marks.map((m) => m.epsilon)]);
  const [bottom, top] = extent([...found.map((f) => f.trace.y), marks.map((m) => m.value)]);
  // Labels point away from the nearer edge; where two results lie close, one label moves up and the other down.
  const positions = marks.map((mark, i) => {
    const near = (other) => other && Math.abs(other.value - mark.value) < 0.06 * (top - bottom);
    const height = near(marks[i + 1]) ? "bottom" : near(marks[i - 1]) ? "top" : "middle";
    const place = look.log ? Math.log(mark.epsilon / left) / Math.log(right / left) : (mark.epsilon - left) / (right - left);
    return `${height} ${place > 0.5 ? "left" : "right"}`;
  });
  return {
    info: { kind: "marks", marks },
    trace: {
      type: "scatter", name: "Published results", mode: "markers+text", hoverinfo: "none",
      x: marks.map((mark) => mark.epsilon), y: marks.map((mark) => mark.value),
      text: marks.map((mark) => ` ${plain(mark.label)} `), textposition: positions,
      textfont: { size: 11, color: look.text }, cliponaxis: false,
      marker: { symbol: "star", size: 11, color: look.background, line: { color: look.text, width: 1.5 } },
    },
  };
}

function extent(lists) {
  let [low, high] = [Infinity, -Infinity];
  for (const list of lists) {
    for (const value of list) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return [low, high];
}

export function layout(panel, runs, look) {
  const axis = axisOf(panel, runs, look.axis);
  const log = axis === "epsilon" && look.log;
  const lines = { gridcolor: look.grid, linecolor: look.grid, zeroline: false, automargin: true, title: { standoff: 8 } };
  return {
    autosize: true,
    margin: { l: 58, r: 14, t: 10, b: 46 },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: look.font, size: 13, color: look.text },
    hovermode: "closest",
    hoverdistance: 30,
    dragmode: "zoom",
    showlegend: false,
    uirevision: "kept",
    datarevision: look.revision,
    xaxis: {
      ...lines, title: { text: plain(look.axes[axis]), standoff: 8 }, type: log ? "log" : "linear", uirevision: `${axis} ${log}`,
      ...(log ? { nticks: 3, minorloglabels: "complete", tickformat: "~g" } : {}),
    },
    yaxis: {
      ...lines, title: { text: plain(panel.y_title), standoff: 8 }, type: panel.log_y ? "log" : "linear", uirevision: "kept",
      tickformat: panel.percent ? ".3~p" : "~g", rangemode: panel.stacked ? "tozero" : "normal",
      ...(panel.log_y ? { nticks: 4, minorloglabels: "complete" } : {}),
    },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: look.grid, activecolor: look.text },
    xaxis2: { overlaying: "x", range: [0, 1], visible: false, fixedrange: true },
  };
}

// Lines of a tooltip over point `index` of a trace: the first is its heading.
export function tooltip(info, index) {
  if (info.kind === "level") return [info.label];
  if (info.kind === "marks") {
    const mark = info.marks[index];
    return [mark.label, `ε = ${format.number(mark.epsilon)} · accuracy ${format.share(mark.value)}`, mark.note, mark.source].filter(Boolean);
  }
  const { data } = info.run;
  const row = info.kind === "level-run" ? data.length - 1 : info.rows ? info.rows[index] : index;
  const at = (name) => data.column(name)?.[row] ?? NaN;
  const show = (value) => (info.share ? format.share(value) : format.number(value));
  const accuracy = info.metric.key === "test_accuracy" ? "" : ` · accuracy ${format.share(at("test_accuracy"))}`;
  return [
    info.run.label,
    `${info.metric.label}: ${show(at(info.metric.key))}`,
    `ε = ${format.epsilon(at("epsilon"))}${accuracy}`,
    `step ${format.whole(at("step"))} · epoch ${format.number(at("epoch"))} · ${format.duration(at("seconds"))}`,
    info.run.settings,
  ].filter(Boolean);
}

// What the chart says to somebody who cannot see it.
export function described(panel, runs, look) {
  const axis = axisOf(panel, runs, look.axis);
  const parts = runs.filter((run) => run.data.length).map((run) => {
    const values = panel.metrics.filter((m) => run.data.has(m.key)).map((m) => {
      const value = run.data.last(m.key);
      return `${m.label} ${panel.percent ? format.share(value) : format.number(value)}`;
    });
    return `${run.label}: ${values.join(", ") || "no values"} at step ${format.whole(run.data.lastStep)}, ε = ${format.epsilon(run.data.last("epsilon"))}`;
  });
  const shown = parts.slice(0, 10).join("; ") + (parts.length > 10 ? `; and ${parts.length - 10} more` : "");
  return `Chart: ${panel.title} against ${look.axes[axis]}. ${shown || "No points yet."}`;
}
