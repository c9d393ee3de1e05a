// A number that follows from fields of the page. It asks the server by itself as soon as a field says something else, while a
// person still types, and shows a bound at once and then the exact number; the script's run comes later.

import { keep, leave } from "./place.js";
import { say } from "./text.js";

// Milliseconds that what was typed must stay before the exact number is asked for.
const REST = 250;
// Milliseconds after an event at which to look.
const LOOKS = [0, 20, 60];
// After these, a field may say something else.
const EVENTS = ["input", "keydown", "click", "pointermove", "pointerup"];

// Streamlit calls this at the first mount and again whenever data change.
export function mount({ parentElement, data }) {
  keep(parentElement, ".privlab-answer", (root) => new Answer(root))?.take(data);
  return leave(parentElement);
}

class Answer {
  constructor(root) {
    this.root = root;
    this.asked = null;
    this.abort = new AbortController();
    this.later = null;
    this.noticed = (event) => {
      if (event.type === "pointermove" && !event.buttons) return;
      // React changes the field at once, or some frames later.
      for (const wait of LOOKS) setTimeout(() => this.look(), wait);
    };
    EVENTS.forEach((name) => document.addEventListener(name, this.noticed, true));
  }

  destroy() {
    EVENTS.forEach((name) => document.removeEventListener(name, this.noticed, true));
    clearTimeout(this.later);
    this.abort.abort();
  }

  // What the script's run knows; the fields may be drawn later.
  take(data) {
    this.data = data;
    this.ask(this.query(data.values), 0);
  }

  // What the fields say by now.
  look() {
    const values = { ...this.data.values };
    for (const [name, field] of Object.entries(this.data.fields)) {
      const text = document.querySelector(field.selector)?.value;
      if (text === undefined) continue;
      if (field.options) values[name] = field.options[Number(text)];
      // A field shows fewer digits than it holds.
      else if (text === "" || Number(text) !== Number(field.text)) values[name] = text === "" ? null : Number(text);
    }
    this.ask(this.query(values), REST);
  }

  query(values) {
    const given = Object.entries(values).filter(([, value]) => value !== null && value !== undefined);
    return new URLSearchParams({ ...this.data.how, ...Object.fromEntries(given) }).toString();
  }

  forget() {
    clearTimeout(this.later);
    this.abort.abort();
    this.abort = new AbortController();
  }

  async ask(query, rest) {
    if (query === this.asked) return;
    this.forget();
    this.asked = query;
    this.root.dataset.state = "old";
    const bound = await this.fetch(query, false);
    if (query !== this.asked) return;
    if (bound) this.show(bound, "bound");
    this.later = setTimeout(async () => {
      const exact = await this.fetch(query, true);
      if (query === this.asked) this.show(exact ?? "–", "exact");
    }, rest);
  }

  async fetch(query, exact) {
    const address = new URL(`${this.data.path}?${query}&exact=${exact}&ticket=${this.data.ticket}`, location.origin);
    try {
      const reply = await fetch(address, { signal: this.abort.signal });
      return decodeURIComponent(reply.headers.get("PrivLab-Answer") ?? "") || null;
    } catch {
      return null;
    }
  }

  show(text, state) {
    say(this.root, text);
    this.root.dataset.state = state;
  }
}
