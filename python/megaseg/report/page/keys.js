// Shortcuts. Single letters act only inside strip, cuts and curve, so that they never get in the way of typing.

import { h } from "./dom.js";
import { addBoundary, deleteBoundary, moveBoundary, toggleBoundary, toggleLock } from "./edits.js";

const LOCAL = [
  ["← →", "previous or next scene, or cut"],
  ["Home End", "first or last"],
  ["Page ↑ ↓", "a screen of scenes, ten cuts"],
  ["N P", "next or previous boundary"],
  ["Enter", "split here, or join the scenes"],
  ["S", "split here"],
  ["Delete", "join with the scene before"],
  ["Shift ← →", "move the boundary to the shot before or after"],
  ["L", "lock or unlock the boundary"],
  ["F2 R", "rename the scene"],
];
const GLOBAL = [
  ["Ctrl Z", "undo"],
  ["Ctrl Shift Z", "redo"],
  ["Ctrl S", "save the edited result"],
  ["?", "these shortcuts"],
];

/** What a key does where the cursor is; for the keydown of strip, cuts and curve. */
export function localKey(store, actions) {
  const at = (act) => () => act(store, store.cursor);
  const keys = {
    Enter: at(toggleBoundary),
    " ": at(toggleBoundary),
    s: at(addBoundary),
    Delete: at(deleteBoundary),
    Backspace: at(deleteBoundary),
    l: at(toggleLock),
    r: actions.name,
    F2: actions.name,
    n: () => jump(store, 1),
    p: () => jump(store, -1),
  };
  const moves = { ArrowLeft: -1, ArrowRight: 1 };
  return (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const act =
      event.shiftKey && key in moves
        ? () => moveBoundary(store, store.cursor, store.cursor + moves[key])
        : event.shiftKey
          ? null
          : keys[key];
    if (!act) return;
    event.preventDefault();
    act();
  };
}

/** To the next or previous boundary from the cursor. */
function jump(store, step) {
  const { boundaries, cursor } = store;
  const found = step > 0 ? boundaries.find((cut) => cut > cursor) : boundaries.findLast((cut) => cut < cursor);
  store.moveCursor(found ?? (step > 0 ? store.film.cuts - 1 : -1));
}

export function globalKeys(store, actions) {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches?.("input[type=text], input[type=number], textarea");
    const key = event.key.toLowerCase();
    const command = event.ctrlKey || event.metaKey;
    if (event.key === "?" && !typing && !command) return handled(event, actions.help);
    if (!command || event.altKey) return undefined;
    if (key === "s" && !event.shiftKey) return handled(event, actions.save);
    if (typing) return undefined;
    if (key === "z") return handled(event, () => (event.shiftKey ? store.redo() : store.undo()));
    if (key === "y") return handled(event, () => store.redo());
    return undefined;
  });
}

function handled(event, act) {
  event.preventDefault();
  act();
}

/** The list of shortcuts, as a dialog. */
export function helpDialog() {
  const part = (title, rows) => [
    h("h3", {}, title),
    h(
      "dl",
      {},
      ...rows.flatMap(([keys, text]) => [
        h("dt", {}, ...keys.split(" ").map((key) => h("kbd", {}, key))),
        h("dd", {}, text),
      ]),
    ),
  ];
  const close = h("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Close");
  const dialog = h(
    "dialog",
    { class: "help", "aria-labelledby": "help-title" },
    h("h2", { id: "help-title" }, "Keys"),
    ...part("In the strip of scenes and the row of shots", LOCAL),
    ...part("Everywhere", GLOBAL),
    close,
  );
  document.body.append(dialog);
  return dialog;
}
