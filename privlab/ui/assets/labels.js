// Where the words in a chart stand, so that none covers another.

import { format, plain } from "./text.js";

const LETTER = 6;
const LINE = 17;
const APART = 14;

// The twin of `level_name` in privlab/charts/live.py: says ε = ∞, once.
export const levelName = (label) => (label.includes("ε = ∞") ? label : `${label} · ε = ∞`);

// A name above or below a level line, a third of the width further right for each level before it.
export function besideLevel(value, { level, turn, below }, look, log) {
  return {
    ...words(plain(level), look), x: 0.01 + (turn % 3) / 3, xref: "paper", xanchor: "left",
    y: log ? Math.log10(value) : value, yref: "y", yanchor: below ? "top" : "bottom", yshift: below ? -3 : 3, showarrow: false,
  };
}

// Names of published results. Results that lie close have their names listed beside them, each with a line to its star.
// `spans` are the ranges of both axes in their own scale (log10 on a log axis), `size` the pixels between the axes.
export function besideMarks(marks, spans, size, look) {
  const placed = marks.map((mark) => {
    const x = look.log ? Math.log10(mark.epsilon) : mark.epsilon;
    const text = `${plain(mark.label.replace(/ \(.*\)$/, ""))} · ${format.share(mark.value)}`;
    const across = (size.width * (x - spans.x[0])) / (spans.x[1] - spans.x[0]);
    const down = (size.height * (spans.y[1] - mark.value)) / (spans.y[1] - spans.y[0]);
    return { mark, x, text, across, down, width: LETTER * text.length, left: across > size.width / 2 };
  });
  // Those outside of what is zoomed into are not shown and take no room.
  const shown = placed.filter(({ across, down }) => across >= 0 && across <= size.width && down >= 0 && down <= size.height);
  return apart(clusters(shown), size).flatMap((cluster) => listed(cluster, size, look));
}

// Labels whose places beside their stars would touch, from top to bottom.
function clusters(placed) {
  const found = [];
  for (const item of [...placed].sort((a, b) => a.down - b.down || a.across - b.across)) {
    const from = item.left ? item.across - item.width - APART : item.across - APART;
    const span = { left: from, right: from + item.width + 2 * APART, bottom: item.down + LINE };
    const near = found.filter((c) => c.left < span.right && span.left < c.right && item.down < c.bottom);
    const joined = near.reduce((a, c) => ({
      left: Math.min(a.left, c.left), right: Math.max(a.right, c.right), items: [...c.items, ...a.items],
    }), { ...span, items: [item] });
    const items = joined.items.sort((a, b) => a.down - b.down || a.across - b.across);
    const middle = items.reduce((sum, each) => sum + each.down, 0) / items.length;
    joined.bottom = Math.max(span.bottom, middle + (LINE * (items.length + 1)) / 2);
    joined.items = items;
    for (const each of near) found.splice(found.indexOf(each), 1);
    found.push(joined);
  }
  return found.map((cluster) => cluster.items);
}

// Clusters whose columns of names would touch become one.
function apart(groups, size) {
  for (const [i, one] of groups.entries()) {
    const other = groups.findIndex((each, j) => j > i && touch(column(one, size), column(each, size)));
    if (other > 0) {
      const rest = groups.filter((_, j) => j !== i && j !== other);
      return apart([...rest, [...one, ...groups[other]].sort((a, b) => a.down - b.down || a.across - b.across)], size);
    }
  }
  return groups;
}

const touch = (a, b) => a.from < b.to && b.from < a.to && a.top - LINE / 2 < b.bottom && b.top - LINE / 2 < a.bottom;

// Where a cluster's column of names stands: on the side with more room. Several names stand lower than their stars where
// there is room: published results lie along the top, where the curves end, and names beside them would cover those.
function column(items, size) {
  const height = LINE * (items.length - 1);
  const middle = items.reduce((sum, item) => sum + item.down, 0) / items.length;
  const below = Math.max(...items.map((item) => item.down)) + 0.2 * size.height;
  const low = items.length > 1 && below + height + LINE / 2 <= size.height;
  const top = low ? below : Math.max(LINE / 2, Math.min(middle - height / 2, size.height - height - LINE / 2));
  const [first, last] = [Math.min(...items.map((i) => i.across)), Math.max(...items.map((i) => i.across))];
  const left = first > size.width - last;
  const away = items.length === 1 ? APART : 2 * APART;
  const edge = left ? first - away : last + away;
  const width = Math.max(...items.map((item) => item.width));
  return { low, top, left, edge, bottom: top + height + LINE / 2, from: left ? edge - width : edge, to: left ? edge : edge + width };
}

// One column of names, each with a line to its star.
function listed(items, size, look) {
  const { low, top, left, edge } = column(items, size);
  const alone = items.length === 1;
  // From lower left, lines to stars taken from left to right do not cross.
  const order = low ? [...items].sort((a, b) => a.across - b.across || a.down - b.down) : items;
  return order.map((item, i) => ({
    ...words(item.text, look), x: item.x, y: item.mark.value, xref: "x", yref: "y", xanchor: left ? "right" : "left", yanchor: "middle",
    showarrow: true, arrowhead: 0, arrowwidth: 1, arrowcolor: alone ? "rgba(0,0,0,0)" : "#7F8C8D", standoff: 5,
    ax: edge - item.across, ay: alone ? 0 : top + LINE * i - item.down,
  }));
}

function words(text, look) {
  return { text, font: { size: 11, color: look.text }, bgcolor: look.background, borderpad: 1, opacity: 0.9, captureevents: false };
}
