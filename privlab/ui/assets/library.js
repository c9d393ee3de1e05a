// Plotly, fetched once a page.

import { el } from "./text.js";

let library = null;

export function loadPlotly(address) {
  library ??= new Promise((resolve, reject) => {
    const script = el("script", { src: address });
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error("The chart library could not be loaded from the PrivLab server."));
    document.head.append(script);
  });
  return library;
}
