// What the pointer is over on the curve: both shots of the cut, its score, and the importance of each modality.

import { h, say } from "./dom.js";
import { Importance, scoreText, standing, whereabouts } from "./evidence.js";
import { frame, showShot } from "./shot.js";

export class Tip {
  constructor(store, root) {
    this.store = store;
    this.views = [frame("small"), frame("small")];
    [this.title, this.facts] = [h("b"), h("span", { class: "quiet" })];
    this.importance = new Importance(store.film);
    const pictures = h("div", { class: "tip-shots" }, ...this.views);
    pictures.hidden = store.film.looks === "numbers";
    this.element = h(
      "div",
      { class: "tip", "aria-hidden": "true", hidden: true },
      pictures,
      this.title,
      this.facts,
      this.importance.element,
    );
    root.append(this.element);
  }

  show(cut, x) {
    const { store, element } = this;
    const { film } = store;
    this.views.forEach((view, side) => showShot(view, film, cut + side));
    say(this.title, `${standing(store, cut)} · ${scoreText(film, cut)}`);
    say(
      this.facts,
      `${whereabouts(film, cut)}${film.timed ? ` · after shot ${cut}` : ""}${store.ads.has(cut) ? " · ad break" : ""}`,
    );
    this.importance.show(cut);
    element.hidden = false;
    const room = element.parentElement.clientWidth - element.offsetWidth - 4;
    element.style.left = `${Math.max(4, Math.min(room, x < room / 2 + 40 ? x + 18 : x - element.offsetWidth - 18))}px`;
  }

  hide() {
    this.element.hidden = true;
  }
}
