// The edited result as JSON that Segmentation.from_json reads, and chapters as text.

import { clock } from "./clock.js";
import { sceneName } from "./names.js";

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

/** One line a scene, time and name: what video sites and players take as chapters. */
export function chapters(store) {
  const { film } = store;
  const place = (scene) => (film.timed ? clock(film.startOf(scene.first_shot)) : `shot ${scene.first_shot}`);
  const line = (text) => text.replace(/[\u0000-\u001f\u007f\u2028\u2029]+/g, " ").trim();
  return store.scenes.map((scene, number) => `${place(scene)} ${line(sceneName(store, number))}\n`).join("");
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
