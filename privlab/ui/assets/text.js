// Numbers as people read them, and elements made without ever parsing text as HTML.

const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const format = {
  number: (v) => (Number.isFinite(v) ? number.format(v) : "–"),
  whole: (v) => (Number.isFinite(v) ? whole.format(v) : "–"),
  share: (v) => (Number.isFinite(v) ? `${(100 * v).toFixed(1)} %` : "–"),
  epsilon: (v) => (Number.isFinite(v) ? v.toFixed(v < 0.1 ? 4 : v < 10 ? 3 : 2) : "∞"),
  duration(seconds) {
    if (!Number.isFinite(seconds)) return "–";
    const s = Math.max(0, seconds);
    if (s < 10) return `${s.toFixed(1)} s`;
    if (s < 60) return `${Math.round(s)} s`;
    const minutes = Math.round(s / 60);
    if (s < 600) return `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`;
    return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  },
};

// Plotly reads tags and entities in its texts; this shows them as they are.
export const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

// An element with attributes (on… are listeners) and children; strings become text nodes.
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// Sets text only where it differs, so that a still page stays still.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
