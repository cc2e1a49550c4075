// The list of all scenes under their acts, with names to type. Long lists are filled a few rows a frame, first those in view.

import { clock, span } from "./clock.js";
import { button, h, put, say } from "./dom.js";
import { deleteBoundary, rename, toggleLock } from "./edits.js";
import { automaticActName, automaticName, personsName } from "./names.js";
import { frame, showShot } from "./shot.js";

const AT_ONCE = 14; // rows before and behind the current one that never wait
const BUDGET = 5; // milliseconds a frame for the others

export class List {
  constructor(store, root) {
    this.store = store;
    this.rows = [];
    this.origin = null; // where the keyboard was before it came here
    this.todo = 0; // rows before this one are as they should be
    this.root = h("ol", { class: "rows" });
    root.append(this.root);
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.root.addEventListener("change", (event) => this.commit(event.target));
    this.root.addEventListener("focusin", (event) => this.focused(event.target));
    this.root.addEventListener("click", (event) => this.click(event));
  }

  items() {
    const { film, scenes } = this.store;
    const items = [];
    let act = 0;
    scenes.forEach((scene, place) => {
      while (act < film.acts.length && film.acts[act].first_shot <= scene.first_shot) items.push({ act: act++ });
      items.push({ scene: place });
    });
    return items;
  }

  update() {
    this.all = this.items();
    this.scenes = this.store.scenes; // those that the items are of
    while (this.rows.length > this.all.length) this.rows.pop().element.remove();
    const here = this.all.findIndex((item) => item.scene === this.store.current);
    this.todo = 0;
    for (const place of this.near(here)) this.fill(place);
    if (!this.waiting) this.waiting = requestAnimationFrame(() => this.work());
  }

  *near(here) {
    for (let place = Math.max(0, here - AT_ONCE); place < Math.min(this.all.length, here + AT_ONCE); place++) {
      if (place < this.rows.length || place === this.rows.length) yield place;
    }
  }

  /** Fill what is left for a few milliseconds, and go on in the next frame. */
  work() {
    this.waiting = null;
    if (this.scenes !== this.store.scenes) return; // an update is on its way
    const stop = performance.now() + BUDGET;
    while (this.todo < this.all.length && performance.now() < stop) this.fill(this.todo++);
    if (this.todo < this.all.length) this.waiting = requestAnimationFrame(() => this.work());
  }

  /** All rows, for printing. */
  finish() {
    if (this.scenes !== this.store.scenes) this.update();
    while (this.todo < this.all.length) this.fill(this.todo++);
  }

  fill(place) {
    const item = this.all[place];
    const kind = "act" in item ? "act" : "scene";
    let row = this.rows[place];
    if (!row || row.kind !== kind) {
      const made = kind === "act" ? actRow() : sceneRow();
      if (row) row.element.replaceWith(made.element);
      else this.root.append(made.element);
      row = this.rows[place] = made;
    }
    if (kind === "act") fillAct(row, this.store, item.act);
    else fillScene(row, this.store, item.scene);
  }

  commit(input) {
    if (input.matches("input")) rename(this.store, input.dataset.track, Number(input.dataset.shot), input.value);
  }

  focused(target) {
    if (target.matches("input") && target.dataset.track === this.store.film.track)
      this.store.moveCursor(Number(target.dataset.shot) - 1);
  }

  click(event) {
    const row = event.target.closest(".row");
    if (!row || event.target.closest("input")) return;
    const cut = Number(row.dataset.shot) - 1;
    this.store.moveCursor(cut);
    if (event.target.closest(".row-lock")) toggleLock(this.store, cut);
    else if (event.target.closest(".row-join")) deleteBoundary(this.store, cut);
  }

  /** Up and down go from name to name; Enter keeps a name and goes on, Escape gives the old one back and leaves. */
  key(event) {
    const input = event.target;
    if (!input.matches("input")) return;
    if (event.key === "Escape") {
      input.value = personsName(this.store, input.dataset.track, Number(input.dataset.shot));
      this.origin?.focus();
    }
    const step = { ArrowUp: -1, ArrowDown: 1, Enter: 1 }[event.key];
    if (!step || event.isComposing) return;
    event.preventDefault();
    this.commit(input);
    const place = this.rows.findIndex((row) => row.name === input) + step;
    this.focus(Math.max(0, Math.min(this.rows.length - 1, place)));
  }

  /** Put the keyboard onto the name of a row, by default that of the current scene. */
  focus(place = this.all.findIndex((item) => item.scene === this.store.current)) {
    this.finish();
    this.rows[place].name.focus();
    this.rows[place].name.select();
  }
}

function nameField() {
  return h("input", {
    class: "name",
    type: "text",
    dir: "auto",
    spellcheck: "false",
    autocomplete: "off",
    tabindex: "-1",
  });
}

function actRow() {
  const [name, times] = [nameField(), h("span", { class: "row-times" })];
  return {
    kind: "act",
    name,
    times,
    element: h("li", { class: "row-act" }, h("i", { class: "act-dot" }), name, times),
  };
}

function fillAct(row, store, place) {
  const { film } = store;
  const act = film.acts[place];
  put(row.element, "data-act", place % 6);
  fillName(row.name, store, "acts", act.first_shot, automaticActName(film, place), `Name of act ${place + 1}`);
  say(
    row.times,
    film.timed
      ? `${clock(film.startOf(act.first_shot))} – ${clock(film.endOf(act.last_shot))}`
      : `shots ${act.first_shot} – ${act.last_shot}`,
  );
}

function sceneRow() {
  const text = (kind) => h("span", { class: kind });
  const row = {
    kind: "scene",
    view: frame("small"),
    number: text("row-number"),
    name: nameField(),
    times: text("row-times"),
  };
  Object.assign(row, {
    length: text("row-length"),
    shots: text("row-shots"),
    score: text("row-score"),
    ad: h("i", { class: "ad" }, "Ad"),
  });
  row.words = h("p", { class: "row-words", dir: "auto" });
  row.lock = button("lock", "Lock the start of the scene", undefined, { shown: false, kind: "bare row-lock" });
  row.join = button("join", "Join with the scene before", undefined, { shown: false, kind: "bare row-join" });
  row.lock.tabIndex = row.join.tabIndex = -1;
  const title = h("div", { class: "row-title" }, row.name, row.words);
  row.element = h(
    "li",
    { class: "row" },
    row.view,
    row.number,
    title,
    row.times,
    row.length,
    row.shots,
    row.score,
    row.ad,
    row.lock,
    row.join,
  );
  return row;
}

function fillScene(row, store, place) {
  const { film } = store;
  const scene = store.scenes[place];
  const [first, last, cut] = [scene.first_shot, scene.last_shot, scene.first_shot - 1];
  const words = film.captionFrom(first, last);
  row.element.dataset.shot = first;
  put(row.element, "data-current", place === store.current);
  showShot(row.view, film, (first + last) >> 1, words, scene);
  say(row.number, String(place + 1));
  fillName(
    row.name,
    store,
    film.track,
    first,
    automaticName(film, scene, place + 1),
    `Name of ${film.kind} ${place + 1}`,
  );
  say(row.words, personsName(store, film.track, first) ? words : ""); // else they are in the automatic name
  say(row.times, film.timed ? `${clock(film.startOf(first))} – ${clock(film.endOf(last))}` : "");
  say(row.length, film.timed ? span(film.endOf(last) - film.startOf(first)) : "");
  say(row.shots, first === last ? `shot ${first}` : `shots ${first} – ${last}`);
  say(row.score, cut >= 0 && film.editable ? film.scores[cut].toFixed(2) : "");
  row.ad.hidden = !store.ads.has(cut);
  const locked = store.isLocked.has(cut);
  put(row.lock, "aria-pressed", String(locked));
  put(row.lock, "data-on", locked);
  row.lock.disabled = row.join.disabled = cut < 0 || !film.editable;
  row.name.tabIndex = place === store.current ? 0 : -1;
}

/** A person's name as the value, the automatic one behind it; what someone is typing stays. */
function fillName(input, store, track, shot, automatic, label) {
  const own = personsName(store, track, shot);
  const moved = input.dataset.shot !== String(shot) || input.dataset.track !== track;
  Object.assign(input.dataset, { track, shot });
  if (moved || document.activeElement !== input) if (input.value !== own) input.value = own;
  put(input, "placeholder", automatic);
  put(input, "aria-label", label);
}
