// The page: one film, one store of edits, and the views on them.

import { adCuts } from "./ads.js";
import { span } from "./clock.js";
import { Controls } from "./controls.js";
import { Curve } from "./curve.js";
import { Cuts } from "./cuts.js";
import { sceneBoundaries } from "./decode.js";
import { button, put, say } from "./dom.js";
import { whereabouts } from "./evidence.js";
import { Film } from "./film.js";
import { globalKeys, helpDialog, localKey } from "./keys.js";
import { List } from "./list.js";
import { sceneName } from "./names.js";
import { followPointer } from "./pointer.js";
import { chapters, copy, download, savedResult } from "./saving.js";
import { Store } from "./store.js";
import { Strip } from "./strip.js";
import { Tip } from "./tip.js";

const THEMES = ["auto", "light", "dark"];
const $ = (id) => document.getElementById(id);

function start() {
  const film = new Film(JSON.parse($("film").textContent));
  const store = new Store(film);
  const actions = actionsOf(store);
  const views = viewsOf(store, actions);
  toolbar(store, actions, views);
  globalKeys(store, actions);
  const render = batched(() => update(store, views));
  store.onChange(render);
  addEventListener("beforeunload", (event) => store.dirty && event.preventDefault());
  followTheme(views);
  update(store, views);
  $("page").hidden = false;
  document.addEventListener("DOMContentLoaded", () => {
    readPictures(film);
    update(store, views);
    views.list.root.dataset.ready = "";
  });
  // For scripts: what the page decides with.
  globalThis.megaseg = {
    film,
    store,
    views,
    sceneBoundaries,
    adCuts,
    chapters,
    savedResult,
    sceneName,
    whereabouts,
    render: () => render.now(),
    flush: () => (views.list.finish(), render.now()),
  };
}

/** Pictures stand behind everything else in the document, so that the page is there before they are read. */
function readPictures(film) {
  const lines = $("pictures")?.textContent.trim();
  if (!lines) return;
  const [mime, ...pictures] = lines.split("\n");
  film.pictures = pictures.map((picture) => (picture === "-" ? "" : `data:${mime};base64,${picture}`));
}

function actionsOf(store) {
  const actions = {
    help: () => actions.dialog.showModal(),
    save: () => {
      download(`${JSON.stringify(savedResult(store))}\n`, store.film.data.file, "application/json");
      store.saved = store.edit;
      store.tell(`Saved as ${store.film.data.file}.`);
    },
    copy: async () =>
      store.tell(
        (await copy(chapters(store)))
          ? `${store.scenes.length} chapters copied.`
          : "The browser does not let this page copy.",
      ),
    name: () => {
      actions.list.origin = document.activeElement;
      actions.list.focus();
    },
    key: (event) => actions.local(event),
  };
  actions.dialog = helpDialog();
  actions.local = localKey(store, actions);
  return actions;
}

function viewsOf(store, actions) {
  const strip = new Strip(store, $("strip"), actions);
  const curve = new Curve(store, $("curve"));
  const tip = new Tip(store, $("curve"));
  document.addEventListener("keydown", () => tip.hide());
  followPointer(curve, tip);
  const controls = new Controls(store, $("controls"));
  const cuts = new Cuts(store, $("cuts"), actions);
  const list = new List(store, $("list"));
  actions.list = list;
  return { strip, curve, controls, cuts, list };
}

function toolbar(store, actions, views) {
  const quiet = { shown: false, kind: "bare" };
  views.undo = button("undo", "Undo", () => store.undo(), quiet);
  views.redo = button("redo", "Redo", () => store.redo(), quiet);
  views.theme = button("theme", "Colours", () => nextTheme(views), quiet);
  views.save = button("save", "Save JSON", actions.save, { kind: "primary" });
  const keys = button("keys", "Keys", actions.help, quiet);
  const copied = button("copy", "Copy chapters", actions.copy);
  $("tools").append(views.undo, views.redo, views.theme, keys, copied, views.save);
  const { curve } = views;
  const zoom = (name, text, act) => button(name, text, act, quiet);
  $("zoom").append(
    zoom("minus", "Zoom out", () => curve.zoom(1.6)),
    zoom("plus", "Zoom in", () => curve.zoom(0.625)),
    zoom("fit", "Show the whole film", () => curve.pan(store.film.begin, store.film.end - store.film.begin)),
  );
}

function update(store, views) {
  views.strip.update();
  views.curve.update();
  views.controls.update();
  views.cuts.update();
  views.list.update();
  views.undo.disabled = !store.past.length;
  views.redo.disabled = !store.future.length;
  put(views.save, "data-dirty", store.dirty);
  say($("facts"), facts(store));
  if (store.message) toast(store.message);
  store.message = "";
}

function facts({ film, scenes }) {
  const many = (count, name) => `${count.toLocaleString("en")} ${name}${count === 1 ? "" : "s"}`;
  const parts = [
    many(scenes.length, film.kind),
    film.acts.length && many(film.acts.length, "act"),
    many(film.shots, "shot"),
    film.timed && span(film.end - film.begin),
  ];
  return parts.filter(Boolean).join("  ·  ");
}

/** A message, read aloud and shown for a while. */
function toast(message) {
  const line = $("message");
  say(line, message);
  put(line, "data-shown", true);
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => put(line, "data-shown", false), 5000);
}

/** At most one call a frame, however often asked. */
function batched(act) {
  let waiting = null;
  const now = () => {
    if (waiting !== null) cancelAnimationFrame(waiting);
    waiting = null;
    act();
  };
  const ask = () => (waiting ??= requestAnimationFrame(now));
  return Object.assign(ask, { now });
}

function nextTheme(views) {
  const root = document.documentElement;
  const next = THEMES[(THEMES.indexOf(root.dataset.theme ?? "auto") + 1) % THEMES.length];
  root.dataset.theme = next;
  toast(next === "auto" ? "Colours as the system has them." : `${next === "light" ? "Light" : "Dark"} colours.`);
  recolour(views);
}

function recolour(views) {
  views.curve.theme();
  views.curve.draw();
}

function followTheme(views) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => recolour(views));
  matchMedia("print").addEventListener("change", () => recolour(views));
  addEventListener("beforeprint", () => {
    views.list.finish();
    recolour(views);
  });
}

start();
