// How a shot looks: its picture, its first words, or its number.

import { h, put, say } from "./dom.js";

/** A frame to be filled by showShot. Screen readers get what the frame stands beside, so it is hidden from them. */
export function frame(kind = "") {
  const image = h("img", { alt: "", draggable: "false", decoding: "async", hidden: true });
  const text = h("span", { class: "frame-text", dir: "auto" });
  return h("div", { class: `frame ${kind}`.trim(), "aria-hidden": "true" }, image, text);
}

/** Show a shot: its picture, else words, else the numbers of the shots that it stands for. */
export function showShot(
  element,
  film,
  shot,
  words = film.captionOf(shot),
  { first_shot: first, last_shot: last } = { first_shot: shot, last_shot: shot },
) {
  const [image, text] = element.children;
  const picture = film.pictures[shot];
  put(element, "data-looks", film.looks);
  if (film.looks === "pictures") {
    if (picture) put(image, "src", picture);
    image.hidden = !picture;
    say(text, "");
  } else {
    image.hidden = true;
    say(text, film.looks === "words" ? words : first === last ? `${first}` : `${first} – ${last}`);
  }
}
