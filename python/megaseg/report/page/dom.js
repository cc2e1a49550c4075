// Elements from values. Texts become text nodes and attributes only: nothing of a user is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element: properties starting with "on" are listeners, undefined and false leave an attribute out. */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else put(element, name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set an attribute; undefined, null and false remove it. Nothing happens where it has the value already. */
export function put(element, name, value) {
  if (value === undefined || value === null || value === false) element.removeAttribute(name);
  else {
    const text = value === true ? "" : String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

/** Set the text of an element, where it is another one. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Strokes on 16 x 16.
const ICONS = {
  undo: "M3 6h6.5a3.5 3.5 0 0 1 0 7H6M6 3 3 6l3 3",
  redo: "M13 6H6.5a3.5 3.5 0 0 0 0 7H10M10 3l3 3-3 3",
  save: "M8 2v8M4.5 7 8 10.5 11.5 7M2.5 13.5h11",
  copy: "M6 6h7v7H6zM3.5 10H3V3h7v.5",
  keys: "M1.5 4.5h13v7h-13zM4 7h.01M7 7h.01M10 7h.01M12.5 7h.01M5 9.5h6",
  theme: "M8 2.5a5.5 5.5 0 1 0 0 11zM8 2.5a5.5 5.5 0 0 1 0 11",
  lock: "M4 7.5h8v5.5H4zM5.5 7.5v-2a2.5 2.5 0 0 1 5 0v2",
  unlock: "M4 7.5h8v5.5H4zM5.5 7.5v-2a2.5 2.5 0 0 1 4.8-1",
  split: "M8 2v12M5.5 5 2.5 8l3 3M10.5 5l3 3-3 3",
  join: "M2.5 8h4M9.5 8h4M4.5 5.5 7 8l-2.5 2.5M11.5 5.5 9 8l2.5 2.5",
  earlier: "M10 3 5 8l5 5",
  later: "M6 3l5 5-5 5",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  fit: "M2 5V3h3M14 5V3h-3M2 11v2h3M14 11v2h-3M4.5 8h7",
  reset: "M3 8a5 5 0 1 0 1.7-3.8L3 6M3 2.5V6h3.5",
  name: "M3 13h10M4 10.5 10.5 4l1.5 1.5L5.5 12H4z",
};

/** One of the page's icons, hidden from screen readers. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of [
    ["viewBox", "0 0 16 16"],
    ["class", "icon"],
    ["aria-hidden", "true"],
  ])
    svg.setAttribute(key, value);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/** A button with an icon, and a text that is shown or only read aloud. */
export function button(name, text, onclick, { shown = true, title = undefined, kind = "" } = {}) {
  const label = h("span", { class: shown ? "button-text" : "hidden-text" }, text);
  return h(
    "button",
    { type: "button", class: `button ${kind}`.trim(), title: title ?? (shown ? undefined : text), onclick },
    icon(name),
    label,
  );
}

/** The resolved colour of a custom property, for canvases. */
export function colours(names) {
  const probe = h("span", { hidden: true });
  document.body.append(probe);
  const found = {};
  for (const name of names) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}
