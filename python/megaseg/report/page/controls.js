// Threshold, number and least length of scenes, and the rules of ad breaks.

import { span } from "./clock.js";
import { h, put, say } from "./dom.js";
import { resetDecision, setAds, setCount, setLength, setThreshold } from "./edits.js";

export class Controls {
  constructor(store, root) {
    this.store = store;
    this.editable = store.film.editable;
    if (this.editable) root.append(this.decision());
    if (store.film.timed && store.edit.ads && this.editable) root.append(this.adRules());
    root.hidden = !root.children.length;
  }

  decision() {
    const { store } = this;
    this.slider = h("input", {
      type: "range",
      id: "threshold",
      min: 0,
      max: 1,
      step: 0.005,
      "aria-describedby": "threshold-help",
    });
    this.number = h("input", { type: "number", min: 0, max: 1, step: 0.005, "aria-label": "Threshold, as a number" });
    this.count = h("input", { type: "number", id: "count", min: 1, step: 1 });
    this.length = h("input", { type: "number", id: "length", min: 1, max: store.film.shots, step: 1 });
    this.decides = h("p", { class: "quiet", id: "threshold-help" });
    listen(store, this.slider, (value) => setThreshold(store, value));
    listen(store, this.number, (value) => setThreshold(store, value), "change");
    listen(store, this.count, (value) => setCount(store, value), "change");
    listen(store, this.length, (value) => setLength(store, value), "change");
    const reset = h("button", { type: "button", class: "button bare", onclick: () => resetDecision(store) }, "Reset");
    return h(
      "fieldset",
      {},
      h("legend", {}, "Where scenes end"),
      h("div", { class: "field wide" }, h("label", { for: "threshold" }, "Threshold"), this.number, this.slider),
      h("div", { class: "field" }, h("label", { for: "count" }, "Number of scenes"), this.count),
      h("div", { class: "field" }, h("label", { for: "length" }, "Least shots a scene"), this.length),
      h("div", { class: "decides" }, this.decides, reset),
    );
  }

  adRules() {
    const { store } = this;
    this.shown = h("input", { type: "checkbox", id: "ads", onchange: () => store.showAds(this.shown.checked) });
    this.found = h("p", { class: "quiet" });
    const rules = [
      ["spacing", "Apart at least", 60, "min"],
      ["head", "None in the first", 60, "min"],
      ["tail", "None in the last", 60, "min"],
      ["per_hour", "At most", 1, "an hour"],
    ];
    this.rules = rules.map(([name, label, unit, said]) => {
      const input = h("input", { type: "number", id: `ads-${name}`, min: 0, step: unit === 1 ? 1 : 0.5 });
      listen(store, input, (value) => value >= 0 && setAds(store, { [name]: value * unit }), "change");
      return {
        name,
        unit,
        input,
        field: h(
          "div",
          { class: "field" },
          h("label", { for: input.id }, label),
          input,
          h("span", { class: "unit" }, said),
        ),
      };
    });
    return h(
      "fieldset",
      { class: "ad-rules" },
      h("legend", {}, h("label", { class: "check" }, this.shown, "Ad breaks")),
      h("div", { class: "ad-fields" }, ...this.rules.map(({ field }) => field)),
      this.found,
    );
  }

  update() {
    if (!this.editable) return;
    const { store } = this;
    const { threshold, num_scenes: count, min_scene_length: length } = store.edit.decision;
    keep(this.slider, threshold);
    keep(this.number, threshold);
    keep(this.count, store.scenes.length);
    keep(this.length, length);
    put(this.slider, "aria-valuetext", `${threshold}, ${store.scenes.length} scenes`);
    this.slider.style.setProperty("--share", `${100 * threshold}%`);
    put(this.count, "data-decides", count !== null);
    put(this.number, "data-decides", count === null);
    say(this.decides, decided(store));
    if (this.rules) this.updateAds();
  }

  updateAds() {
    const { store } = this;
    this.shown.checked = store.showsAds;
    for (const { name, unit, input } of this.rules) {
      keep(input, Math.round((store.edit.ads[name] / unit) * 100) / 100);
      input.disabled = !store.showsAds;
    }
    const { size } = store.ads;
    const spoken = store.film.source.speech?.length;
    say(
      this.found,
      !store.showsAds
        ? "Not shown."
        : size
          ? `${size} ${size === 1 ? "break" : "breaks"}${spoken ? ", never while someone speaks" : ""}.`
          : "No scene's end keeps these rules.",
    );
  }
}

function decided(store) {
  const { film, scenes, edit } = store;
  const mean = film.timed ? `, ${span((film.end - film.begin) / scenes.length)} on average` : "";
  return `${scenes.length} ${scenes.length === 1 ? "scene" : "scenes"}${edit.decision.num_scenes === null ? "" : ", an exact number"}${mean}`;
}

/** Act on numbers that are typed or dragged; one drag is one step of undo. */
function listen(store, input, act, kind = "input") {
  input.addEventListener(kind, () => {
    const value = input.valueAsNumber;
    if (Number.isNaN(value) || act(value) === false) store.notify();
  });
  input.addEventListener("change", () => store.settle());
}

/** Show a value where it is another one, so that what is being typed is left alone. */
function keep(input, value) {
  if (input.valueAsNumber !== value) input.value = value;
}
