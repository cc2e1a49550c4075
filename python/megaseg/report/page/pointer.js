// The mouse or a finger on the curve: look, choose, drag the threshold or a boundary, add and delete, zoom and pan.

import { moveBoundary, setThreshold, toggleBoundary } from "./edits.js";

const NEAR = 6; // pixels that count as on it

export function followPointer(curve, tip) {
  const { canvas, store } = curve;
  let drag = null; // {kind: "threshold"} or {kind: "boundary", cut} or {kind: "choice"}
  const spot = (event) => {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    return { x, y, cut: store.film.cuts > 0 ? store.film.cutAt(curve.place(x)) : -1 };
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    const at = spot(event);
    drag = { ...target(curve, at), from: at };
    canvas.setPointerCapture(event.pointerId);
    tip.hide();
  });
  canvas.addEventListener("pointermove", (event) => {
    const at = spot(event);
    if (!drag) return look(curve, tip, at);
    if (Math.hypot(at.x - drag.from.x, at.y - drag.from.y) > 3) drag.moved = true;
    if (drag.moved) follow(curve, drag, at);
  });
  canvas.addEventListener("pointerup", (event) => {
    if (drag) release(curve, drag, spot(event));
    drag = null;
  });
  canvas.addEventListener("pointercancel", () => {
    drag = curve.ghost = null;
    curve.draw();
  });
  canvas.addEventListener("pointerleave", () => {
    curve.hover = null;
    tip.hide();
    curve.draw();
  });
  canvas.addEventListener("dblclick", (event) => toggleBoundary(store, spot(event).cut));
  canvas.addEventListener("wheel", (event) => wheel(curve, event, spot(event)), { passive: false });
}

/** What is under the pointer: the nearest boundary, else the threshold, else a cut to choose. */
function target(curve, { x, y }) {
  const { store } = curve;
  if (!store.film.editable) return { kind: "choice" };
  const { threshold, num_scenes: count } = store.edit.decision;
  const near = nearestBoundary(curve, x);
  if (near !== null && y > curve.y(store.film.scores[near]) - NEAR && Math.abs(y - curve.y(threshold)) > NEAR)
    return { kind: "boundary", cut: near };
  if (count === null && Math.abs(y - curve.y(threshold)) <= NEAR + 3) return { kind: "threshold" };
  return { kind: "choice" };
}

function nearestBoundary(curve, x) {
  let [found, least] = [null, NEAR];
  for (const cut of curve.store.boundaries) {
    const distance = Math.abs(curve.x(curve.store.film.at(cut)) - x);
    if (distance < least) [found, least] = [cut, distance];
  }
  return found;
}

function look(curve, tip, at) {
  const kind = target(curve, at).kind;
  curve.canvas.style.cursor = { threshold: "ns-resize", boundary: "ew-resize", choice: "default" }[kind];
  const cut = kind === "boundary" ? target(curve, at).cut : at.cut;
  curve.hover = cut < 0 || kind === "threshold" ? null : cut;
  curve.draw();
  if (curve.hover === null) tip.hide();
  else tip.show(cut, at.x);
}

function follow(curve, drag, at) {
  if (drag.kind === "threshold") setThreshold(curve.store, Math.round(curve.score(at.y) * 200) / 200);
  else if (drag.kind === "boundary") {
    curve.ghost = at.cut;
    curve.draw();
  }
}

function release(curve, drag, at) {
  const { store } = curve;
  curve.ghost = null;
  store.settle();
  if (drag.kind === "boundary" && drag.moved) {
    moveBoundary(store, drag.cut, at.cut);
    return curve.draw();
  }
  if (!drag.moved) store.moveCursor(drag.kind === "boundary" ? drag.cut : at.cut);
}

function wheel(curve, event, at) {
  const sideways = event.shiftKey ? event.deltaY : event.deltaX;
  if (!event.ctrlKey && Math.abs(sideways) <= Math.abs(event.shiftKey ? 0 : event.deltaY)) return;
  event.preventDefault();
  if (event.ctrlKey) curve.zoom(Math.exp(event.deltaY / 300), curve.place(at.x));
  else curve.pan(curve.view[0] + (sideways / curve.width) * (curve.view[1] - curve.view[0]));
}
