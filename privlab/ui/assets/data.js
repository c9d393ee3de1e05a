// One run's points as growing columns, and the thinning of long ones.

export const LIMIT = 2000;

export class RunData {
  constructor() {
    this.state = null;
    this.clear();
  }

  clear() {
    this.length = 0;
    this.capacity = 0;
    this.columns = new Map();
  }

  get lastStep() {
    return this.length ? this.columns.get("step")[this.length - 1] : 0;
  }

  // Takes over what the server sent. False if points are missing in between: ask for everything again.
  apply(item) {
    if (item.state) this.state = item.state;
    if (!item.columns) return true;
    if (item.after === 0) this.clear();
    else if (item.after !== this.lastStep) return false;
    this.append(item.columns);
    return true;
  }

  append(columns) {
    const more = columns.step.length;
    this.reserve(this.length + more);
    for (const name of Object.keys(columns)) {
      if (!this.columns.has(name)) this.columns.set(name, new Float64Array(this.capacity).fill(NaN));
    }
    for (const [name, buffer] of this.columns) {
      const values = columns[name];
      for (let i = 0; i < more; i++) {
        const value = values ? values[i] : null;
        buffer[this.length + i] = value === null ? NaN : value;
      }
    }
    this.length += more;
  }

  reserve(rows) {
    if (rows <= this.capacity) return;
    this.capacity = Math.max(rows, 2 * this.capacity, 256);
    for (const [name, old] of this.columns) {
      const buffer = new Float64Array(this.capacity);
      buffer.set(old.subarray(0, this.length));
      this.columns.set(name, buffer);
    }
  }

  column(name) {
    const buffer = this.columns.get(name);
    return buffer ? buffer.subarray(0, this.length) : null;
  }

  // Value of the last point that has one, NaN if none has.
  last(name) {
    const values = this.column(name);
    if (!values) return NaN;
    for (let i = values.length - 1; i >= 0; i--) if (Number.isFinite(values[i])) return values[i];
    return NaN;
  }

  has(name) {
    return Number.isFinite(this.last(name));
  }

  // Seconds per step over the last points, evaluation included; NaN before the second point.
  pace(points = 20) {
    const n = this.length;
    if (n < 2) return NaN;
    const first = Math.max(0, n - 1 - points);
    const [steps, seconds] = [this.column("step"), this.column("seconds")];
    return (seconds[n - 1] - seconds[first]) / (steps[n - 1] - steps[first]);
  }
}

// Rows that keep the look of `values`: the first, the last, and each stretch's least and greatest. Null: keep all.
// The twin of privlab/charts/decimate.py.
export function thinned(values, limit = LIMIT) {
  const n = values.length;
  if (n <= limit) return null;
  const stretches = Math.floor((limit - 2) / 2);
  const rows = new Int32Array(limit);
  let kept = 0;
  const keep = (row) => {
    if (!kept || rows[kept - 1] !== row) rows[kept++] = row;
  };
  keep(0);
  for (let s = 0; s < stretches; s++) {
    const [from, to] = [Math.floor((s * n) / stretches), Math.floor(((s + 1) * n) / stretches)];
    let [low, high] = [from, from];
    for (let i = from + 1; i < to; i++) {
      if (values[i] < values[low] || Number.isNaN(values[low])) low = i;
      if (values[i] > values[high] || Number.isNaN(values[high])) high = i;
    }
    keep(Math.min(low, high));
    keep(Math.max(low, high));
  }
  keep(n - 1);
  return rows.subarray(0, kept);
}
