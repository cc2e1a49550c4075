// Names of scenes and acts, as export/timeline.py gives them, shortened as engine/results/source.py does.

const WORDS = 48; // letters of a scene's first words in its name
const IMPOSSIBLE = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]/gu;
const BREAKS = /[\v\f\x1c-\x1e\x85\u2028\u2029]/g;
const BLANKS = /[\t\n\r \xa0\u1680\u2000-\u200a\u202f\u205f\u3000]+/g;

/** A text on one line, blanks singly; what no file can hold is replaced. */
function oneLine(text) {
  return text.replace(BREAKS, " ").replace(IMPOSSIBLE, "\ufffd").replace(BLANKS, " ").replace(/^ | $/g, "");
}

/** The first words of a text, at most so many letters. */
export function shortened(text, most = WORDS) {
  const letters = [...oneLine(text)];
  if (letters.length <= most) return letters.join("");
  const begin = letters.slice(0, most - 1).join("");
  const cut = begin.lastIndexOf(" ");
  const words = /[\p{L}\p{N}]/u.test(letters[most - 1]) && cut >= 0 ? begin.slice(0, cut) : begin;
  return `${words.replace(/[ ,;:.…\-–—]+$/, "")}…`;
}

/** Number from 1 of the act in which a shot is, or null where no acts are known. */
export function actOf(film, shot) {
  const place = film.acts.findIndex((act) => shot <= act.last_shot);
  return place < 0 ? null : place + 1;
}

/** What a segment of the page's own track is called where a person has not named it. */
export function automaticName(film, scene, number) {
  if (film.track === "acts") return actTitle(film, scene, number);
  const act = actOf(film, scene.first_shot);
  const words = film.captionFrom(scene.first_shot, scene.last_shot);
  const kind = film.kind[0].toUpperCase() + film.kind.slice(1);
  return [`${kind} ${number}`, act && `Act ${act}`, words && shortened(words)].filter(Boolean).join(" · ");
}

/** The name of an act: its number, and the turning point that it follows. */
function actTitle(film, act, number) {
  const points = film.points.filter((point) => point.shot === act.first_shot - 1);
  return [`Act ${number}`, ...points.map((point) => `after ${point.name}`)].join(" · ");
}

/** A person's name of a scene, else the automatic one. */
export function sceneName(store, place) {
  const scene = store.scenes[place];
  return personsName(store, store.film.track, scene.first_shot) || automaticName(store.film, scene, place + 1);
}

export function personsName(store, track, shot) {
  return store.edit.names[track]?.[shot] ?? "";
}

export function automaticActName(film, place) {
  return actTitle(film, film.acts[place], place + 1);
}

export function actName(store, place) {
  return personsName(store, "acts", store.film.acts[place].first_shot) || automaticActName(store.film, place);
}
