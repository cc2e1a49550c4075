// What a person can do to the scenes. Each gives the store one new state, so that each can be undone.

const without = (cuts, cut) => cuts.filter((other) => other !== cut);
const having = (cuts, cut) => [...without(cuts, cut), cut].sort((a, b) => a - b);

function decide(store, changes, message, kind = null, names = store.edit.names) {
  const { film, edit } = store;
  if (!film.editable) return store.tell("This result has no scenes whose boundaries could change.");
  return store.change({ ...edit, decision: { ...edit.decision, ...changes }, names }, message, kind);
}

/** A new threshold; it ends an earlier exact number of scenes. */
export function setThreshold(store, threshold) {
  return decide(store, { threshold, num_scenes: null }, "", "threshold");
}

export function setCount(store, count) {
  return decide(store, { num_scenes: count }, "", "count");
}

export function setLength(store, length) {
  return decide(store, { min_scene_length: length }, "", "length");
}

export function resetDecision(store) {
  const { threshold, min_scene_length, num_scenes } = store.original.decision;
  return decide(
    store,
    { threshold, min_scene_length, num_scenes },
    "The scenes are decided as they were at first. Your own boundaries stay.",
  );
}

/** An exact number of scenes goes along with what a person adds or deletes. */
function counted(store, change) {
  const { num_scenes: count } = store.edit.decision;
  return { num_scenes: count === null ? null : Math.max(1, count + change) };
}

export function addBoundary(store, cut) {
  const { locked, barred } = store.edit.decision;
  if (cut < 0) return store.tell("The film begins here: nothing to split.");
  if (store.isBoundary.has(cut)) return store.tell("A scene ends here already.");
  return decide(
    store,
    { locked: having(locked, cut), barred: without(barred, cut), ...counted(store, 1) },
    `Scene split after shot ${cut}.`,
  );
}

export function deleteBoundary(store, cut) {
  const { locked, barred } = store.edit.decision;
  if (!store.isBoundary.has(cut)) return store.tell("No scene ends here.");
  return decide(
    store,
    { locked: without(locked, cut), barred: having(barred, cut), ...counted(store, -1) },
    `Scenes joined at shot ${cut}.`,
  );
}

export function toggleBoundary(store, cut) {
  return store.isBoundary.has(cut) ? deleteBoundary(store, cut) : addBoundary(store, cut);
}

/** To move a boundary is to bar the old shot's end and to lock the new one; the name of the scene moves along. */
export function moveBoundary(store, from, to) {
  const { locked, barred } = store.edit.decision;
  if (!store.isBoundary.has(from)) return store.tell("No scene ends here: nothing to move.");
  if (from === to) return false;
  if (to < 0 || to >= store.film.cuts) return store.tell("The film ends there.");
  if (store.isBoundary.has(to)) return store.tell("Another scene ends there already.");
  const changes = { locked: having(without(locked, from), to), barred: having(without(barred, to), from) };
  const moved = decide(
    store,
    changes,
    `Boundary moved from shot ${from} to shot ${to}.`,
    null,
    movedName(store, from + 1, to + 1),
  );
  if (moved && store.cursor === from) store.moveCursor(to);
  return moved;
}

function movedName(store, from, to) {
  const { names } = store.edit;
  const own = names[store.film.track] ?? {};
  if (!(from in own)) return names;
  const { [from]: name, ...others } = own;
  return { ...names, [store.film.track]: { ...others, [to]: name } };
}

export function toggleLock(store, cut) {
  const { locked } = store.edit.decision;
  if (!store.isBoundary.has(cut)) return store.tell("Only a scene's end can be locked.");
  if (!locked.includes(cut))
    return decide(store, { locked: having(locked, cut) }, `Boundary after shot ${cut} locked.`);
  return decide(store, { locked: without(locked, cut) }, `Boundary after shot ${cut} no longer locked.`);
}

/** A person's name of the segment of a track that begins with a shot; an empty one gives the automatic name back. */
export function rename(store, track, shot, name) {
  const { [shot]: before = "", ...others } = store.edit.names[track] ?? {};
  if (name === before) return false;
  const own = name ? { ...others, [shot]: name } : others;
  const { [track]: _, ...tracks } = store.edit.names;
  const names = Object.keys(own).length ? { ...tracks, [track]: own } : tracks;
  return store.change({ ...store.edit, names }, name ? "Renamed." : "Named automatically again.");
}

export function setAds(store, changes) {
  return store.change({ ...store.edit, ads: { ...store.edit.ads, ...changes } }, "", `ads ${Object.keys(changes)}`);
}
