// The edited result as JSON that Segmentation.from_json reads, and chapters as text.

import { frameOf } from "./clock.js";
import { sceneName, shortened } from "./names.js";

const [SHORTEST, FEWEST] = [10, 3]; // seconds of a chapter, and chapters, that video sites ask for
const ROOM = 5000; // bytes of a description
const LETTERS = [1000, 100, 60, 40, 30, 20]; // of a name at most: the first of these with which all have room

/** The result with the page's decision, scenes and names; all else as it came. */
export function savedResult(store) {
  const { film, edit } = store;
  const result = structuredClone(film.result);
  if (film.editable) putDecision(store, result);
  const names = Object.fromEntries(Object.entries(edit.names).filter(([, own]) => Object.keys(own).length));
  delete result.names;
  if (Object.keys(names).length) result.names = names;
  return result;
}

function putDecision(store, result) {
  const { film, edit, boundaries } = store;
  const { locked, barred, ...decision } = edit.decision;
  const own = { ...decision, ...(locked.length ? { locked } : {}), ...(barred.length ? { barred } : {}) };
  const seconds = (tick) => (tick === null || !film.base ? null : film.seconds(tick));
  const segments = store.scenes.map((scene) => ({
    ...scene,
    start_seconds: seconds(scene.start_ticks),
    end_seconds: seconds(scene.end_ticks),
  }));
  const { locked: _, barred: __, ...flat } = result.decision;
  result.decision = { ...flat, ...own };
  result.boundaries = [...boundaries];
  result.scenes = segments;
  Object.assign(result.tracks[film.track], { decision: own, boundaries: [...boundaries], segments });
}

/** Lines of time and name, as export/youtube.py writes them; without times the first shot stands for the time. */
export function chapters(store) {
  const { film, scenes } = store;
  const name = (place, letters) => shortened(sceneName(store, place), letters).replaceAll("<", "‹").replaceAll(">", "›");
  if (!film.timed) return scenes.map((scene, place) => `shot ${scene.first_shot} ${name(place, LETTERS[0])}\n`).join("");
  const second = (tick) => frameOf(tick, film.base, [1, 1]);
  const starts = scenes.map((scene) => second(scene.start_ticks));
  const kept = longEnough(starts, second(scenes.at(-1).end_ticks));
  const shown = kept.length < FEWEST ? [...scenes.keys()] : kept;
  const hours = starts[shown.at(-1)] >= 3600;
  const line = (letters) => (place, number) => `${brief(number ? starts[place] : 0, hours)} ${name(place, letters)}\n`;
  const texts = LETTERS.map((letters) => shown.map(line(letters)).join(""));
  return texts.find((text) => new TextEncoder().encode(text).length <= ROOM) ?? texts.at(-1);
}

/** Places of scenes that are chapters of at least SHORTEST seconds; shorter ones go with the one before. */
function longEnough(starts, end) {
  const kept = [];
  starts.forEach((start, place) => {
    if (!kept.length || (start - starts[kept.at(-1)] >= SHORTEST && end - start >= SHORTEST)) kept.push(place);
  });
  return kept;
}

/** Minutes and seconds such as 02:03, with hours where the film has some. */
function brief(second, hours) {
  const two = (value) => String(value).padStart(2, "0");
  const rest = `${two(Math.floor(second / 60) % 60)}:${two(second % 60)}`;
  return hours ? `${Math.floor(second / 3600)}:${rest}` : rest;
}

/** Hand a text to the browser as a file. */
export function download(text, name, type) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** Copy a text; true if it was. Pages of files have no clipboard in some browsers: a selection serves there. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "off-page";
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}
