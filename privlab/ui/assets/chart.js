// From runs and settings to Plotly traces and layout. No state, no DOM.

import { thinned } from "./data.js";
import { besideLevel, besideMarks, levelName } from "./labels.js";
import { format, plain } from "./text.js";

const DASHES = ["solid", "dash", "dot", "dashdot"];
// Up to this many points a line shows its points too.
const DOTTED = 120;
// ε from 0.1 to 10 while nothing is drawn: as powers of ten, and as numbers.
const EMPTY_EPSILON = [[-1, 1], [0, 10]];
// A share never lies outside 0…1; the rest keeps a line along the edge whole.
const SHARES = { clipmin: -0.01, clipmax: 1.01 };

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
        opacity: run.active ? 1 : 0.7, connectgaps: panel.sparse, visible: look.hidden.has(legend.id) ? "legendonly" : true,
      };
      if (axis === "epsilon" && !run.data.has("epsilon")) {
        const dashed = { ...line, dash: dash === "solid" ? "dash" : dash };
        found.push({
          info: { ...info, kind: "level-run", level: levelName(run.label), turn: levels++ },
          trace: { ...shared, line: dashed, ...level(run.data.last(metric.key)) },
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
    found.push({
      info: { kind: "level", level: line.label, turn: 0, below: line.below },
      trace: { ...level(line.value), type: "scatter", name: plain(line.label), hoverinfo: "none", line: { color: look.text, dash: "longdash", width: 1.5 } },
    });
  }
  if (panel.marks && axis === "epsilon" && look.marksOn && look.marks.length) found.push(published(look));
  return found;
}

function picked(values, rows) {
  const found = new Float64Array(rows.length);
  for (let i = 0; i < rows.length; i++) found[i] = values[rows[i]];
  return found;
}

// A line across the whole chart, whatever is zoomed into: on the hidden axis x2, which always runs from 0 to 1.
function level(value) {
  const x = Array.from({ length: 33 }, (_, i) => i / 32);
  return { x, y: x.map(() => value), mode: "lines", xaxis: "x2", yaxis: "y" };
}

function published(look) {
  const { marks } = look;
  return {
    info: { kind: "marks", marks },
    trace: {
      type: "scatter", name: "Published results", mode: "markers", hoverinfo: "none",
      x: marks.map((mark) => mark.epsilon), y: marks.map((mark) => mark.value),
      marker: { symbol: "star", size: 10, color: look.background, line: { color: look.text, width: 1.5 } },
    },
  };
}

// Names of levels and published results. `ranges` are those that the person zoomed to, null where the chart chooses.
function names(panel, found, look, size, ranges) {
  const log = look.axis === "epsilon" && look.log;
  const said = found.filter(({ info, trace }) => info.level && trace.visible !== "legendonly")
    .map(({ info, trace }) => besideLevel(trace.y[0], info, look, panel.log_y));
  const stars = found.find(({ info }) => info.kind === "marks");
  if (!stars || size.width <= 0 || size.height <= 0) return said;
  const seen = found.filter(({ trace }) => trace.visible !== "legendonly");
  const across = extent(seen.filter(({ trace }) => trace.xaxis !== "x2").map(({ trace }) => trace.x)).map((x) => (log ? Math.log10(x) : x));
  const spans = {
    x: ranges.x ?? roomy(hasRuns(found) ? across : [Math.min(across[0], EMPTY_EPSILON[Number(!log)][0]), Math.max(across[1], EMPTY_EPSILON[Number(!log)][1])]),
    y: ranges.y ?? roomy(hasRuns(found) ? extent(seen.map(({ trace }) => trace.y)) : [0, 1]),
  };
  return [...said, ...besideMarks(stars.info.marks, spans, size, look)];
}

// A range with the margin that Plotly leaves around the drawn points.
const roomy = ([low, high]) => [low - 0.055 * (high - low), high + 0.055 * (high - low)];

// Is there a line of a run that has a place on the x axis?
const hasRuns = (found) => found.some(({ info }) => info.kind === "run");

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

// Wide enough for all usual tick labels, so that the axes stay where they are when those change.
const MARGIN = { l: 70, r: 18, t: 22, b: 54 };

// `found` are the traces, `box` the pixels of the whole plot, `ranges` what the person zoomed to (null: nothing).
export function layout(panel, runs, look, found, box, ranges) {
  const axis = axisOf(panel, runs, look.axis);
  const log = axis === "epsilon" && look.log;
  const lines = { gridcolor: look.grid, linecolor: look.grid, zeroline: false, automargin: true, title: { standoff: 8 } };
  const size = { width: box.width - MARGIN.l - MARGIN.r, height: box.height - MARGIN.t - MARGIN.b };
  const across = horizontal(axis, log, runs, found);
  const upright = vertical(panel, found);
  return {
    autosize: true,
    margin: MARGIN,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: look.font, size: 13, color: look.text },
    hovermode: "closest",
    hoverdistance: 30,
    dragmode: "zoom",
    showlegend: false,
    uirevision: "kept",
    datarevision: look.revision,
    annotations: names(panel, found, look, size, ranges),
    xaxis: {
      ...lines, title: { text: plain(look.axes[axis]), standoff: 8 }, type: log ? "log" : "linear", tickformat: "~g",
      uirevision: `${axis} ${log} ${Boolean(across.range)}`, ...across, ...(log ? { nticks: 3, minorloglabels: "complete" } : {}),
    },
    yaxis: {
      ...lines, title: { text: plain(panel.y_title), standoff: 8 }, type: panel.log_y ? "log" : "linear",
      uirevision: `kept ${Boolean(upright.range)}`, tickformat: panel.percent ? ".3~p" : "~g", rangemode: panel.stacked || panel.sparse ? "tozero" : "normal",
      ...upright, ...(panel.log_y ? { ...decades(found), minorloglabels: "complete" } : {}),
    },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: look.grid, activecolor: look.text },
    xaxis2: { overlaying: "x", range: [0, 1], visible: false, fixedrange: true },
  };
}

// The x range: chosen by the points, or, where none has a place, the one that is expected.
function horizontal(axis, log, runs, found) {
  const placed = found.some(({ trace }) => trace.xaxis !== "x2" && trace.visible !== "legendonly");
  const expected = axis === "epsilon" ? EMPTY_EPSILON[Number(!log)] : [0, axis === "step" ? planned(runs) : 1];
  if (!placed) return { range: expected, autorange: false };
  const bare = axis === "epsilon" && !hasRuns(found);
  return { autorange: true, autorangeoptions: bare ? { include: log ? [0.1, 10] : expected } : {} };
}

const planned = (runs) => Math.max(1, ...runs.map((run) => run.data.state?.steps ?? 0));

function vertical(panel, found) {
  const drawn = found.filter(({ trace }) => trace.visible !== "legendonly");
  if (!drawn.length) return { range: panel.log_y ? [-1, 1] : [0, 1], autorange: false };
  if (!panel.percent) return { autorange: true };
  return { autorange: true, autorangeoptions: { ...SHARES, ...(drawn.some(({ info }) => info.run) ? {} : { include: [0, 1] }) } };
}

// Ticks of a logarithmic y axis: over one or two powers of ten 1, 2 and 5 of each, where Plotly would crowd all nine.
function decades(found) {
  const [low, high] = extent(found.map(({ trace }) => trace.y));
  return high / low > 3 && high / low < 100 ? { dtick: "D2" } : { nticks: 4 };
}

// Lines of a tooltip over point `index` of a trace: the first is its heading.
export function tooltip(info, index) {
  if (info.kind === "level") return [info.level];
  if (info.kind === "marks") {
    const mark = info.marks[index];
    return [mark.label, `ε = ${format.number(mark.epsilon)} · accuracy ${format.share(mark.value)}`, mark.note, mark.source].filter(Boolean);
  }
  const { data } = info.run;
  const row = info.kind === "level-run" ? data.length - 1 : info.rows ? info.rows[index] : index;
  const at = (name) => data.column(name)?.[row] ?? NaN;
  const show = (value) => (info.share ? format.share(value) : format.number(value));
  const [accuracy, perplexity] = [at("test_accuracy"), at("test_perplexity")];
  const useful = Number.isFinite(perplexity) ? ["test_perplexity", `perplexity ${format.number(perplexity)}`] : ["test_accuracy", `accuracy ${format.share(accuracy)}`];
  return [
    info.run.label,
    `${info.metric.label}: ${show(at(info.metric.key))}`,
    `ε = ${format.epsilon(at("epsilon"))}${info.metric.key === useful[0] ? "" : ` · ${useful[1]}`}`,
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
