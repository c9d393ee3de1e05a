// A field to draw a digit on, and the small picture that a model is given of it.

import { keep, leave } from "./place.js";
import { el } from "./text.js";

const SIZE = 280;
const PEN = 26;
// As the digits of the data set were made: a bitmap of 32 × 32, in which each pixel of 8 × 8 counts the ink of 4 × 4 (0 to 16).
const FINE = 32;
const COARSE = 8;

// Streamlit calls this at the first mount and again whenever data or theme change.
export function mount({ parentElement, setStateValue }) {
  const drawing = keep(parentElement, ".privlab-draw", (root) => new Drawing(root));
  if (drawing) drawing.tell = (pixels) => setStateValue("pixels", pixels);
  return leave(parentElement);
}

class Drawing {
  constructor(root) {
    this.root = root;
    this.strokes = [];
    this.field = el("canvas", { width: SIZE, height: SIZE, class: "privlab-field", "data-testid": "draw-field", tabindex: "0",
      role: "img", "aria-label": "Field to draw a digit on with the mouse or a finger" });
    this.seen = el("canvas", { width: COARSE, height: COARSE, class: "privlab-seen", role: "img",
      "aria-label": "The drawing in 8 by 8 pixels" });
    const clear = el("button", { type: "button", class: "privlab-clear", onclick: () => this.clear() }, "Clear");
    const undo = el("button", { type: "button", class: "privlab-clear", onclick: () => this.undo() }, "Undo stroke");
    root.replaceChildren(this.field,
      el("div", { class: "privlab-beside" }, this.seen, el("span", {}, "what is encrypted: 8 × 8 pixels"), undo, clear));
    this.field.addEventListener("pointerdown", (event) => this.begin(event));
    this.field.addEventListener("pointermove", (event) => this.go(event));
    for (const name of ["pointerup", "pointercancel"]) this.field.addEventListener(name, () => this.end());
    this.paint();
  }

  destroy() {
    this.root.replaceChildren();
  }

  place(event) {
    const box = this.field.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * SIZE, ((event.clientY - box.top) / box.height) * SIZE];
  }

  begin(event) {
    event.preventDefault();
    this.field.setPointerCapture(event.pointerId);
    this.stroke = [this.place(event)];
    this.strokes.push(this.stroke);
    this.paint();
  }

  go(event) {
    if (!this.stroke) return;
    this.stroke.push(this.place(event));
    this.paint();
  }

  end() {
    if (!this.stroke) return;
    this.stroke = null;
    this.tell(this.pixels());
  }

  undo() {
    this.strokes.pop();
    this.paint();
    this.tell(this.pixels());
  }

  clear() {
    this.strokes = [];
    this.paint();
    this.tell(null);
  }

  paint() {
    const ink = this.field.getContext("2d");
    ink.fillStyle = "#000";
    ink.fillRect(0, 0, SIZE, SIZE);
    draw(ink, this.strokes, (point) => point, PEN);
    const small = this.seen.getContext("2d");
    const picture = small.createImageData(COARSE, COARSE);
    (this.pixels() ?? new Array(COARSE * COARSE).fill(0)).forEach((value, i) =>
      picture.data.set([(value * 255) / 16, (value * 255) / 16, (value * 255) / 16, 255], 4 * i));
    small.putImageData(picture, 0, 0);
  }

  // 64 numbers from 0 to 16, row by row; null without ink.
  pixels() {
    const points = this.strokes.flat();
    if (!points.length) return null;
    const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
    const [left, top] = [Math.min(...xs) - PEN / 2, Math.min(...ys) - PEN / 2];
    const [wide, high] = [Math.max(...xs) - left + PEN / 2, Math.max(...ys) - top + PEN / 2];
    // The digit fills the height, as in the data set, or the width if it is broader than high.
    const scale = FINE / Math.max(wide, high);
    const move = ([x, y]) => [(x - left - wide / 2) * scale + FINE / 2, (y - top - high / 2) * scale + FINE / 2];
    const fine = el("canvas", { width: FINE, height: FINE }).getContext("2d", { willReadFrequently: true });
    draw(fine, this.strokes, move, Math.max(3, PEN * scale));
    const { data } = fine.getImageData(0, 0, FINE, FINE);
    const counts = new Array(COARSE * COARSE).fill(0);
    for (let i = 0; i < FINE * FINE; i++) {
      const [row, column] = [Math.floor(i / FINE), i % FINE];
      if (data[4 * i + 3] > 127) counts[Math.floor(row / 4) * COARSE + Math.floor(column / 4)] += 1;
    }
    return counts;
  }
}

function draw(ink, strokes, move, width) {
  Object.assign(ink, { lineWidth: width, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
  for (const stroke of strokes) {
    ink.beginPath();
    const [first, ...rest] = stroke.map(move);
    ink.moveTo(...first);
    // A dot is a line too.
    for (const point of rest.length ? rest : [first]) ink.lineTo(...point);
    ink.stroke();
  }
}
