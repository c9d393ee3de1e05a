// One object for each place that a component has on the page, kept over reruns of the script.

// The object at the component's place: the one that is there, or a new one of `make(root)` where the script's run made the
// place anew. Null where there is no place.
export function keep(parentElement, selector, make) {
  const root = parentElement.querySelector(selector);
  if (!root) return null;
  if (parentElement.privlab?.root !== root) {
    parentElement.privlab?.destroy();
    parentElement.privlab = make(root);
  }
  return parentElement.privlab;
}

// What Streamlit calls when the place goes. It also calls it for a mount that new data or a new theme overtook before it had
// ended; what the later mount took over then stays.
export function leave(parentElement) {
  const turn = (parentElement.privlabTurn ?? 0) + 1;
  parentElement.privlabTurn = turn;
  return () => {
    if (parentElement.privlabTurn !== turn) return;
    parentElement.privlab?.destroy();
    delete parentElement.privlab;
  };
}
