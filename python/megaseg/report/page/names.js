// Names of scenes and acts, as export/timeline.py gives them.

/** Number from 1 of the act in which a shot is, or null where no acts are known. */
export function actOf(film, shot) {
  const place = film.acts.findIndex((act) => shot <= act.last_shot);
  return place < 0 ? null : place + 1;
}

/** What a scene is called where a person has not named it. */
export function automaticName(film, scene, number) {
  const act = actOf(film, scene.first_shot);
  const words = film.captionFrom(scene.first_shot, scene.last_shot);
  return [`Scene ${number}`, act && `Act ${act}`, words].filter(Boolean).join(" · ");
}

/** A person's name of a scene, else the automatic one. */
export function sceneName(store, place) {
  const scene = store.scenes[place];
  return personsName(store, store.film.track, scene.first_shot) || automaticName(store.film, scene, place + 1);
}

export function personsName(store, track, shot) {
  return store.edit.names[track]?.[shot] ?? "";
}

export function actName(store, place) {
  return personsName(store, "acts", store.film.acts[place].first_shot) || `Act ${place + 1}`;
}
