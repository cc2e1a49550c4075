// The edits of one person: decisions, names and ad rules, with undo, and the scenes that follow from them.

import { adCuts } from "./ads.js";
import { sceneBoundaries } from "./decode.js";

export class Store {
  constructor(film) {
    this.film = film;
    this.original = initialEdit(film);
    this.edit = this.original;
    this.saved = this.original;
    this.past = [];
    this.future = [];
    this.merging = null; // what the last change was, while more of its kind are one step
    this.cursor = -1; // a cut: the end of this shot; -1 is the start of the film
    this.message = "";
    this.showsAds = true;
    this.listeners = [];
    this.derive(this.edit);
  }

  onChange(listener) {
    this.listeners.push(listener);
  }

  notify() {
    for (const listener of this.listeners) listener();
  }

  derive(edit) {
    const { film } = this;
    const own = film.result.tracks[film.track];
    this.boundaries = film.editable ? sceneBoundaries(film.scores, edit.decision) : own.boundaries;
    this.isBoundary = new Set(this.boundaries);
    this.scenes = segmentsOf(film, this.boundaries, film.editable ? null : own.segments);
    this.isLocked = new Set(edit.decision.locked);
    this.ads = new Set(this.showsAds ? adCuts(film, this.scenes, edit.ads) : []);
  }

  /** A change as one step of undo; changes of one kind in a row are one step. Says why where it is not possible. */
  change(edit, message = "", kind = null) {
    try {
      this.derive(edit);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.derive(this.edit);
      this.tell(error.message);
      return false;
    }
    if (kind === null || kind !== this.merging) this.past.push(this.edit);
    this.merging = kind;
    this.future = [];
    this.edit = edit;
    this.tell(message);
    return true;
  }

  tell(message) {
    this.message = message;
    this.notify();
  }

  /** Ends a row of changes that are one step. */
  settle() {
    this.merging = null;
  }

  step(from, to, message) {
    if (!from.length) return this.tell(`Nothing to ${message}.`);
    to.push(this.edit);
    this.edit = from.pop();
    this.merging = null;
    this.derive(this.edit);
    return this.tell(message === "undo" ? "Undone." : "Done again.");
  }

  undo() {
    this.step(this.past, this.future, "undo");
  }

  redo() {
    this.step(this.future, this.past, "redo");
  }

  get dirty() {
    return this.edit !== this.saved;
  }

  moveCursor(cut) {
    const next = Math.max(-1, Math.min(this.film.cuts - 1, cut));
    if (next !== this.cursor) {
      this.cursor = next;
      this.notify();
    }
  }

  /** Place of the scene that holds a shot. */
  sceneOf(shot) {
    let [low, high] = [0, this.scenes.length - 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.scenes[middle].last_shot < shot) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Place of the scene that starts at the cursor or goes on behind it. */
  get current() {
    return this.sceneOf(this.cursor + 1);
  }

  showAds(shown) {
    this.showsAds = shown;
    this.derive(this.edit);
    this.notify();
  }
}

function initialEdit(film) {
  const given = film.result.tracks[film.track].decision;
  const decision = { ...given };
  if (film.editable) Object.assign(decision, { locked: given.locked ?? [], barred: given.barred ?? [] });
  return { decision, names: structuredClone(film.result.names ?? {}), ads: film.data.ads ?? null };
}

/** Segments between boundaries, each with the score of the boundary that ends it, as a result has them. */
function segmentsOf(film, boundaries, own = null) {
  const tick = (shot, side) => (film.times ? film.times[shot][side] : null);
  const lasts = [...boundaries, film.shots - 1];
  return lasts.map((last, place) => {
    const first = place ? lasts[place - 1] + 1 : 0;
    const score = own ? own[place].score : place < boundaries.length ? film.scores[last] : 1;
    return { first_shot: first, last_shot: last, score, start_ticks: tick(first, 0), end_ticks: tick(last, 1) };
  });
}
