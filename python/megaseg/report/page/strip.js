// The strip of scenes under their acts. Only the cards in view exist, so that any number of scenes costs the same.

import { clock } from "./clock.js";
import { h, icon, put, say } from "./dom.js";
import { actName, personsName } from "./names.js";
import { frame, showShot } from "./shot.js";

const SPARE = 2; // cards beyond each edge

export class Strip {
  constructor(store, root, actions) {
    this.store = store;
    this.cards = [];
    this.bars = h("div", { class: "acts" });
    this.list = h("div", {
      class: "cards",
      role: "listbox",
      tabindex: "0",
      "aria-orientation": "horizontal",
      "aria-label": "Scenes",
    });
    this.scroller = h("div", { class: "strip-scroll" }, this.bars, this.list);
    root.append(this.scroller);
    this.scroller.addEventListener("scroll", () => requestAnimationFrame(() => this.fill()), { passive: true });
    this.list.addEventListener("keydown", (event) => this.key(event, actions));
    this.list.addEventListener("click", (event) => this.click(event));
    this.list.addEventListener("dblclick", actions.name);
    new ResizeObserver(() => this.resized()).observe(this.scroller);
    this.shown = -1;
  }

  /** Sizes are read here alone: to read them between two changes would cost a layout each time. */
  resized() {
    this.cardWidth = parseFloat(getComputedStyle(this.scroller).getPropertyValue("--card"));
    this.wide = this.scroller.clientWidth;
    this.update();
  }

  click(event) {
    const card = event.target.closest("[role=option]");
    if (card) this.choose(Number(card.dataset.place));
  }

  choose(place) {
    const { scenes } = this.store;
    const next = scenes[Math.max(0, Math.min(scenes.length - 1, place))];
    this.store.moveCursor(next.first_shot - 1);
  }

  key(event, actions) {
    const here = this.store.current;
    const page = Math.max(1, Math.floor(this.wide / this.cardWidth) - 1);
    const places = {
      ArrowLeft: here - 1,
      ArrowRight: here + 1,
      Home: 0,
      End: Infinity,
      PageUp: here - page,
      PageDown: here + page,
    };
    if (!(event.key in places) || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey)
      return actions.key(event);
    event.preventDefault();
    return this.choose(places[event.key]);
  }

  update() {
    const { store } = this;
    if (!this.cardWidth) return this.resized();
    const left = this.scroller.scrollLeft;
    this.list.style.width = `${store.scenes.length * this.cardWidth}px`;
    this.drawActs();
    const target = store.current === this.shown ? left : this.revealed(store.current, left);
    this.shown = store.current;
    if (target !== left) this.scroller.scrollLeft = target;
    return this.fill(Math.max(0, Math.min(target, store.scenes.length * this.cardWidth - this.wide)));
  }

  drawActs() {
    const { film, scenes } = this.store;
    this.bars.hidden = !film.acts.length;
    while (this.bars.children.length < film.acts.length)
      this.bars.append(h("div", { class: "act" }, h("span", { dir: "auto" })));
    film.acts.forEach((act, place) => {
      const bar = this.bars.children[place];
      const first =
        this.store.sceneOf(act.first_shot) +
        (scenes[this.store.sceneOf(act.first_shot)].first_shot < act.first_shot ? 1 : 0);
      const last = this.store.sceneOf(act.last_shot);
      bar.hidden = last < first;
      bar.style.left = `${first * this.cardWidth}px`;
      bar.style.width = `${(last - first + 1) * this.cardWidth}px`;
      put(bar, "data-act", place % 6);
      say(bar.firstChild, actName(this.store, place));
    });
  }

  /** Where to scroll to so that a card is in view, with its neighbours. */
  revealed(place, scrolled) {
    const { cardWidth, wide } = this;
    const left = place * cardWidth;
    const inView = left >= scrolled + cardWidth && left + cardWidth <= scrolled + wide - cardWidth;
    return inView ? scrolled : Math.max(0, left - (wide - cardWidth) / 2);
  }

  /** Put the scenes in view onto the cards that there are. */
  fill(left = this.scroller.scrollLeft) {
    const { cardWidth, store } = this;
    const most = Math.ceil(this.wide / cardWidth) + 2 * SPARE;
    while (this.cards.length < most) this.cards.push(this.list.appendChild(newCard()));
    const first = Math.max(0, Math.floor(left / cardWidth) - SPARE);
    let active = null;
    this.cards.forEach((card, place) => {
      const scene = first + place;
      card.hidden = scene >= store.scenes.length;
      if (card.hidden) return card.removeAttribute("id");
      fillCard(card, store, scene, cardWidth);
      if (scene === store.current) active = card.id;
    });
    put(this.list, "aria-activedescendant", active);
  }
}

function newCard() {
  const [number, time, name] = [
    h("b", { class: "card-number" }),
    h("span", { class: "card-time" }),
    h("span", { class: "card-name", dir: "auto" }),
  ];
  const marks = h(
    "span",
    { class: "card-marks" },
    h("span", { class: "card-lock" }, icon("lock"), h("span", { class: "hidden-text" }, "Locked")),
    h("i", { class: "ad" }, "Ad"),
  );
  return h(
    "div",
    { class: "card", role: "option" },
    frame(),
    h("span", { class: "strength" }),
    marks,
    h("div", { class: "card-line" }, number, time),
    name,
  );
}

function fillCard(card, store, place, width) {
  const { film } = store;
  const scene = store.scenes[place];
  const cut = scene.first_shot - 1;
  const [view, strength, marks, line, name] = card.children;
  card.id = `scene-${place}`;
  card.dataset.place = place;
  card.style.transform = `translateX(${place * width}px)`;
  put(card, "aria-selected", String(place === store.current));
  put(card, "aria-posinset", place + 1);
  put(card, "aria-setsize", store.scenes.length);
  showShot(
    view,
    film,
    (scene.first_shot + scene.last_shot) >> 1,
    film.captionFrom(scene.first_shot, scene.last_shot),
    scene,
  );
  strength.style.height = `${cut < 0 || !film.editable ? 0 : 100 * film.scores[cut]}%`;
  marks.firstChild.hidden = !store.isLocked.has(cut);
  marks.lastChild.hidden = !store.ads.has(cut);
  say(line.firstChild, String(place + 1));
  say(line.lastChild, film.timed ? clock(film.startOf(scene.first_shot)) : `shot ${scene.first_shot}`);
  const own = personsName(store, film.track, scene.first_shot);
  put(name, "data-own", Boolean(own));
  say(
    name,
    own || film.captionFrom(scene.first_shot, scene.last_shot) || counted(scene.last_shot - scene.first_shot + 1),
  );
}

const counted = (shots) => `${shots} ${shots === 1 ? "shot" : "shots"}`;
