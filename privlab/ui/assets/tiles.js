// The live numbers above the charts.

import { el, format, say } from "./text.js";

const WORDS = {
  queued: "queued: waits for a free place", starting: "starting", running: "running", paused: "paused", stopped: "stopped",
  finished: "finished", failed: "failed", deleted: "deleted", unknown: "not in the store",
};
const OVER = new Set(["stopped", "finished", "failed", "deleted", "unknown"]);

export const isOver = (status) => OVER.has(status);
export const statusOf = (run) => run.data.state?.status ?? run.status ?? "";

// What a run is doing, in a few words.
export function doing(run) {
  const status = statusOf(run);
  const state = run.data.state;
  if (state?.requested && !isOver(status)) return `${state.requested === "pause" ? "pausing" : "stopping"} after this batch`;
  return WORDS[status] ?? status;
}

// The run that the tiles show: the last one at work, else the last one waiting, else the last one.
export function focused(runs) {
  const active = runs.filter((run) => run.active);
  const last = (wanted) => active.findLast((run) => wanted(statusOf(run)));
  return last((s) => s === "running") ?? last((s) => s && !isOver(s)) ?? active.at(-1) ?? runs.at(-1) ?? null;
}

// kind → (data, state) → { value, sub, part, release, label }: `part` 0…1 fills the bar, `release` and `label` replace the
// tile's own.
const KINDS = {
  epsilon(data, state) {
    if (state.private === false) return { value: "∞", sub: "no guarantee", release: "not private" };
    const spent = data.last("epsilon");
    if (!Number.isFinite(spent)) return { value: "–", sub: state.target ? `of ${format.number(state.target)}` : "" };
    if (!state.target) return { value: format.epsilon(spent), sub: "no target was set" };
    const end = state.ends_early ? `, which ends at step ${format.whole(state.steps)}` : "";
    return { value: format.epsilon(spent), sub: `of ${format.number(state.target)}${end}`, part: spent / state.target };
  },
  accuracy(data, state) {
    const where = data.length ? `at step ${format.whole(data.lastStep)}` : "";
    if (state.task === "language") {
      const told = data.has("recited") ? `step ${format.whole(data.lastStep)} · recites ${format.whole(data.last("recited"))}` : where;
      return { label: "Perplexity", value: format.number(data.last("test_perplexity")), sub: told };
    }
    const f1 = data.has("test_f1") ? ` · F1 ${format.share(data.last("test_f1"))}` : "";
    return { value: format.share(data.last("test_accuracy")), sub: where + f1 };
  },
  speed(data, state) {
    return { value: format.number(data.last("steps_per_second")), sub: state.steps ? `step ${format.whole(state.step)} of ${format.whole(state.steps)}` : "" };
  },
  time_left(data, state) {
    if (isOver(state.status)) return { value: state.status === "finished" ? "done" : "–", sub: `${format.duration(state.seconds)} taken` };
    const left = (state.steps - state.step) * data.pace();
    return { value: format.duration(left), sub: state.seconds ? `${format.duration(state.seconds)} so far` : "", part: state.step / state.steps };
  },
  clipped(data) {
    return { value: format.share(data.last("clipped_share")), sub: data.has("clipped_share") ? "of recent records" : "" };
  },
};

// Metrics that the tiles read.
export const TILE_METRICS = ["test_accuracy", "test_f1", "test_perplexity", "recited", "clipped_share", "steps_per_second"];

export class Tiles {
  // `notes` is what else is to be said; it stands beside the run's name.
  constructor(tiles, notes) {
    this.swatch = el("span", { class: "privlab-dot", "aria-hidden": "true" });
    this.name = el("span", { class: "privlab-focus-name" });
    this.parts = tiles.map((tile) => {
      const parts = {
        kind: tile.kind,
        value: el("div", { class: "privlab-value", "data-testid": `live-tile-${tile.kind}` }, "–"),
        sub: el("div", { class: "privlab-sub" }),
        fill: el("div", { class: "privlab-fill" }),
      };
      parts.bar = el("div", { class: "privlab-bar", "aria-hidden": "true" }, parts.fill);
      parts.own = tile.release;
      parts.release = el("div", { class: "privlab-release", title: tile.about }, tile.release);
      parts.called = tile.label;
      parts.label = el("div", { class: "privlab-label" }, tile.label);
      parts.node = el("div", { class: "privlab-tile", title: tile.help },
        parts.label, parts.value, parts.sub, parts.bar, parts.release);
      return parts;
    });
    this.node = el("section", { class: "privlab-tiles-box", "aria-label": "Live numbers" },
      el("div", { class: "privlab-focus" }, this.swatch, this.name, notes),
      el("div", { class: "privlab-tiles" }, ...this.parts.map((part) => part.node)));
  }

  show(run) {
    say(this.name, run ? `${run.label} · ${doing(run) || "…"}` : "No run yet");
    this.swatch.style.background = run ? run.colour : "transparent";
    for (const part of this.parts) {
      const state = run?.data.state;
      const { value = "–", sub = "", part: share, release, label } = state ? KINDS[part.kind](run.data, state) : {};
      say(part.value, value);
      say(part.sub, sub);
      say(part.release, release ?? part.own);
      say(part.label, label ?? part.called);
      part.bar.style.visibility = share === undefined ? "hidden" : "visible";
      part.fill.style.width = `${100 * Math.min(1, Math.max(0, share || 0))}%`;
    }
  }
}
