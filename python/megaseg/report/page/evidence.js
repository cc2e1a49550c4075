// Why a scene ends somewhere: its score, and what each modality says for it.

import { clock, frameOf, timecode } from "./clock.js";
import { h, put, say } from "./dom.js";

/** Bars of the modalities' shares in the score of a cut. */
export class Importance {
  constructor(film) {
    this.film = film;
    this.rows = film.modalities.map((name, place) => {
      const [bar, share] = [
        h("i", { class: "share-bar", "data-modality": place % 8 }),
        h("span", { class: "share-number" }),
      ];
      return {
        bar,
        share,
        row: h(
          "div",
          { class: "share" },
          h("span", { class: "share-name", dir: "auto" }, name),
          h("span", { class: "share-track" }, bar),
          share,
        ),
      };
    });
    this.title = h("p", { class: "quiet" });
    this.element = h("div", { class: "shares" }, this.title, ...this.rows.map(({ row }) => row));
  }

  show(cut) {
    const shares = this.film.shares.get(cut);
    this.element.hidden = !this.film.modalities.length;
    for (const [place, { row, bar, share }] of this.rows.entries()) {
      row.hidden = !shares;
      bar.style.width = `${100 * (shares?.[place] ?? 0)}%`;
      say(share, `${Math.round(100 * (shares?.[place] ?? 0))}%`);
    }
    say(this.title, this.titleOf(cut, shares));
  }

  titleOf(cut, shares) {
    if (!shares) return "What each modality says is not known here.";
    const decided = this.film.decided.get(cut);
    return shares.some(Boolean) ? `What speaks for “${decided}”` : `No modality speaks for “${decided}”`;
  }
}

/** Where a cut is, for reading: a timecode where the film has one, else the time, else the shot. */
export function whereabouts(film, cut) {
  if (!film.timed) return cut < 0 ? "before shot 0" : `after shot ${cut}`;
  if (!film.clock || cut + 1 >= film.shots) return clock(film.at(cut), true);
  const { rate, drop, start, lead } = film.clock;
  return timecode(start + frameOf(film.times[cut + 1][0] - lead, film.base, rate), rate, drop);
}

/** What the page knows of a cut, in a few words. */
export function standing(store, cut) {
  if (cut < 0) return "The film begins";
  const { locked = [], barred = [] } = store.edit.decision;
  if (locked.includes(cut)) return "Locked boundary";
  if (barred.includes(cut)) return "Deleted boundary";
  return store.isBoundary.has(cut) ? "Boundary" : "No boundary";
}

export function scoreText(film, cut) {
  return film.editable && cut >= 0 ? film.scores[cut].toFixed(3) : "–";
}

/** Set the class of a cut's state. */
export function mark(element, store, cut) {
  const { locked = [], barred = [] } = store.edit.decision;
  put(
    element,
    "data-state",
    locked.includes(cut) ? "locked" : store.isBoundary.has(cut) ? "boundary" : barred.includes(cut) ? "barred" : "none",
  );
}
