// The cutting room: the shots around the cursor with every cut between them, and what can be done at the chosen one.

import { button, h, put, say } from "./dom.js";
import { addBoundary, deleteBoundary, moveBoundary, toggleBoundary, toggleLock } from "./edits.js";
import { Importance, mark, scoreText, standing, whereabouts } from "./evidence.js";
import { sceneName } from "./names.js";
import { frame, showShot } from "./shot.js";

export class Cuts {
  constructor(store, root, actions) {
    this.store = store;
    this.list = h("div", {
      class: "reel",
      role: "listbox",
      tabindex: "0",
      "aria-orientation": "horizontal",
      "aria-label": "Cuts between shots",
    });
    this.places = [];
    [this.title, this.where, this.score] = [h("h3"), h("span", { class: "where" }), h("span", { class: "score" })];
    this.between = h("p", { class: "between", dir: "auto" });
    this.importance = new Importance(store.film);
    const facts = h(
      "div",
      { class: "cut-facts" },
      this.title,
      h("p", { class: "cut-place" }, this.where, this.score),
      this.between,
    );
    root.append(this.list, h("div", { class: "cut-panel" }, facts, this.importance.element, this.buttons(actions)));
    this.list.addEventListener("keydown", (event) => this.key(event, actions));
    this.list.addEventListener("click", (event) => this.click(event));
    this.list.addEventListener("dblclick", () => toggleBoundary(store, store.cursor));
    new ResizeObserver(() => this.resized()).observe(this.list);
  }

  buttons(actions) {
    const { store } = this;
    const at = (act) => () => act(store, store.cursor);
    const split = button("split", "Split here", at(addBoundary));
    const lock = button("lock", "Lock", at(toggleLock));
    const earlier = button("earlier", "Earlier", () => moveBoundary(store, store.cursor, store.cursor - 1), {
      title: "Move the boundary to the shot before",
    });
    const later = button("later", "Later", () => moveBoundary(store, store.cursor, store.cursor + 1), {
      title: "Move the boundary to the shot after",
    });
    const name = button("name", "Rename", actions.name);
    const join = button("join", "Join scenes", at(deleteBoundary));
    Object.assign(this, { split, lock, earlier, later, join });
    return h(
      "div",
      { class: "cut-actions", role: "group", "aria-label": "Edit this cut" },
      split,
      join,
      earlier,
      later,
      lock,
      name,
    );
  }

  click(event) {
    const place = event.target.closest("[data-cut]");
    if (place) this.store.moveCursor(Number(place.dataset.cut));
  }

  key(event, actions) {
    const { store } = this;
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey)
      return actions.key(event);
    event.preventDefault();
    return store.moveCursor(store.cursor + step);
  }

  /** As many places as fit: shot, cut, shot, cut, ..., with the cursor's cut in the middle. */
  resized() {
    const tile = parseFloat(getComputedStyle(this.list).getPropertyValue("--tile"));
    const half = Math.max(1, Math.round(this.list.clientWidth / tile / 2));
    if (this.places.length !== 2 * half) this.layout(half);
    this.update();
  }

  layout(half) {
    this.places = Array.from({ length: 2 * half }, (_, place) => {
      const view = frame();
      const cut = h(
        "div",
        { class: "cut", role: "option" },
        h("i", { class: "cut-strength" }),
        h("b", { class: "cut-flag" }),
      );
      const number = h("span", { class: "shot-number" });
      return { place, view, cut, number, shot: h("div", { class: "shot", "aria-hidden": "true" }, view, number) };
    });
    this.list.replaceChildren(...this.places.flatMap(({ shot, cut }, place) => (place ? [cut, shot] : [shot])));
  }

  update() {
    const { store } = this;
    const { film, cursor } = store;
    const half = this.places.length / 2;
    let active = null;
    this.places.forEach((place, index) => {
      const shot = cursor + 1 - half + index;
      const there = shot >= 0 && shot < film.shots;
      put(place.shot, "data-there", there);
      place.cut.hidden = false;
      if (there) showTile(place, store, shot);
      fillCut(place.cut, store, shot - 1, there);
      if (shot - 1 === cursor) active = place.cut.id;
    });
    put(this.list, "aria-activedescendant", active);
    this.describe();
  }

  describe() {
    const { store } = this;
    const { film, cursor, current } = store;
    const on = store.isBoundary.has(cursor);
    say(this.title, standing(store, cursor));
    say(this.where, whereabouts(film, cursor));
    say(this.score, cursor < 0 || !film.editable ? "" : `score ${scoreText(film, cursor)}`);
    const before = cursor >= 0 && on ? `${sceneName(store, current - 1)}  →  ` : cursor >= 0 ? "within " : "";
    say(this.between, before + sceneName(store, current));
    this.importance.show(cursor);
    const idle = !film.editable || cursor < 0;
    this.split.hidden = !idle && on;
    this.split.disabled = idle;
    this.join.hidden = idle || !on;
    this.earlier.disabled = this.later.disabled = this.lock.disabled = idle || !on;
    const locked = store.isLocked.has(cursor);
    put(this.lock, "aria-pressed", String(locked));
    say(this.lock.lastChild, locked ? "Unlock" : "Lock");
  }
}

function showTile(place, store, shot) {
  showShot(place.view, store.film, shot);
  say(place.number, String(shot));
  put(place.shot, "data-side", store.sceneOf(shot) % 2);
  put(place.shot, "data-cut", shot - 1);
}

function fillCut(element, store, cut, there) {
  const real = there && cut >= -1;

  element.classList.toggle("gone", !real);
  if (!real) {
    for (const name of [
      "id",
      "role",
      "aria-selected",
      "data-cut",
      "aria-label",
      "aria-posinset",
      "aria-setsize",
      "data-state",
    ])
      element.removeAttribute(name);
    return;
  }
  element.id = `cut-${cut}`;
  element.dataset.cut = cut;
  put(element, "role", "option");
  put(element, "aria-selected", String(cut === store.cursor));
  put(element, "aria-posinset", cut + 2);
  put(element, "aria-setsize", store.film.cuts + 1);
  mark(element, store, cut);
  element.firstChild.style.height = `${cut < 0 || !store.film.editable ? 0 : 100 * store.film.scores[cut]}%`;
  const score = cut >= 0 && store.film.editable ? `, score ${scoreText(store.film, cut)}` : "";
  put(element, "aria-label", `${cut < 0 ? "Start" : `After shot ${cut}`}, ${standing(store, cut)}${score}`);
}
