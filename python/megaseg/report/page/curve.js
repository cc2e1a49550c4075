// The boundary curve on a canvas: scores as stems over acts, the threshold, the cursor and ad breaks.

import { clock } from "./clock.js";
import { colours, h, put } from "./dom.js";
import { actName } from "./names.js";

const MARGIN = { left: 34, right: 14, top: 26, bottom: 24 };
const FILM = 48; // height of the row of pictures under the curve
const COLOURS = [
  "ink",
  "soft",
  "line",
  "faint",
  "accent",
  "lock",
  "ad",
  "panel",
  "act-0",
  "act-1",
  "act-2",
  "act-3",
  "act-4",
  "act-5",
];
const LEAST = 4; // seconds, or shots, that are in view however near: some of the labels
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200]; // seconds between labels

export class Curve {
  constructor(store, root) {
    this.store = store;
    this.canvas = h("canvas", { role: "img" });
    root.append(this.canvas);
    this.view = [store.film.begin, store.film.end];
    this.hover = null; // a cut
    this.ghost = null; // a cut to which a boundary is being moved
    new ResizeObserver(() => this.resized()).observe(this.canvas);
    this.bottom = MARGIN.bottom + (store.film.looks === "pictures" ? FILM + 6 : 0);
    this.images = new Map(); // of shots
    this.theme();
  }

  resized() {
    [this.width, this.height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    this.draw();
  }

  theme() {
    this.colour = colours(COLOURS);
    this.font = getComputedStyle(document.body).fontFamily;
  }

  x(place) {
    const [from, to] = this.view;
    return MARGIN.left + ((place - from) / (to - from)) * (this.width - MARGIN.left - MARGIN.right);
  }

  place(x) {
    const [from, to] = this.view;
    return from + ((x - MARGIN.left) / (this.width - MARGIN.left - MARGIN.right)) * (to - from);
  }

  y(score) {
    return MARGIN.top + (1 - score) * (this.height - MARGIN.top - this.bottom);
  }

  score(y) {
    return Math.max(0, Math.min(1, 1 - (y - MARGIN.top) / (this.height - MARGIN.top - this.bottom)));
  }

  /** Show a part of the axis that is factor times as long, with the given place where it was. */
  zoom(factor, at = this.store.film.at(this.store.cursor)) {
    const { begin, end } = this.store.film;
    const [from, to] = this.view;
    const length = Math.min(end - begin, Math.max((end - begin) / 400, LEAST, (to - from) * factor));
    const share = Math.max(0, Math.min(1, (at - from) / (to - from)));
    this.pan(at - share * length, length);
  }

  pan(from, length = this.view[1] - this.view[0]) {
    const { begin, end } = this.store.film;
    const start = Math.max(begin, Math.min(end - length, from));
    this.view = [start, start + length];
    this.draw();
  }

  update() {
    const at = this.store.film.at(this.store.cursor);
    if (this.shown !== this.store.cursor && (at < this.view[0] || at > this.view[1]))
      this.pan(at - (this.view[1] - this.view[0]) / 2);
    else this.draw();
    this.shown = this.store.cursor;
    const { film, scenes, edit } = this.store;
    const decided = edit.decision.num_scenes == null ? `threshold ${edit.decision.threshold}` : "an exact number";
    put(
      this.canvas,
      "aria-label",
      `Boundary scores of ${film.shots} shots, ${scenes.length} scenes by ${film.editable ? decided : "the model"}`,
    );
  }

  draw() {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    if (!this.width) return;
    const [wide, high] = [Math.round(this.width * ratio), Math.round(this.height * ratio)];
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
    const c = canvas.getContext("2d");
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.clearRect(0, 0, this.width, this.height);
    c.font = `11px ${this.font}`;
    this.drawGrid(c);
    this.drawActs(c);
    c.save();
    c.beginPath();
    c.rect(MARGIN.left - 1, 0, this.width - MARGIN.left - MARGIN.right + 2, this.height);
    c.clip();
    this.drawStems(c);
    this.drawMarks(c);
    if (this.bottom > MARGIN.bottom) this.drawFilm(c);
    c.restore();
    this.drawThreshold(c);
  }

  drawGrid(c) {
    const { colour } = this;
    c.fillStyle = colour.soft;
    c.textAlign = "right";
    c.textBaseline = "middle";
    for (const score of [0, 0.25, 0.5, 0.75, 1]) {
      const y = Math.round(this.y(score)) + 0.5;
      c.strokeStyle = score ? colour.faint : colour.line;
      line(c, MARGIN.left, y, this.width - MARGIN.right, y);
      if (score * 2 === Math.round(score * 2)) c.fillText(String(score), MARGIN.left - 8, y);
    }
    this.drawAxis(c);
  }

  drawAxis(c) {
    const { film } = this.store;
    const [from, to] = this.view;
    const room = ((to - from) * 74) / (this.width - MARGIN.left - MARGIN.right);
    const step = STEPS.find((length) => length >= room) ?? Math.ceil(room / 3600) * 3600;
    c.textAlign = "center";
    for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
      const x = Math.round(this.x(at)) + 0.5;
      c.strokeStyle = this.colour.line;
      line(c, x, this.y(0), x, this.y(0) + 4);
      c.fillText(film.timed ? clock(at) : String(at), Math.min(x, this.width - 24), this.y(0) + 14);
    }
  }

  drawActs(c) {
    const { film } = this.store;
    c.textAlign = "left";
    film.acts.forEach((act, place) => {
      const left = Math.max(MARGIN.left, this.x(film.startOf(act.first_shot)));
      const right = Math.min(this.width - MARGIN.right, this.x(film.endOf(act.last_shot)));
      if (right - left < 2) return;
      c.fillStyle = this.colour[`act-${place % 6}`];
      c.fillRect(left + 1, 6, right - left - 2, 3);
      if (right - left > 48) {
        c.fillStyle = this.colour.soft;
        c.fillText(clipped(c, actName(this.store, place), right - left - 6), left + 2, 17);
      }
    });
  }

  drawStems(c) {
    const { film, isBoundary, colour } = {
      film: this.store.film,
      isBoundary: this.store.isBoundary,
      colour: this.colour,
    };
    const [first, last] = this.range();
    const thin = new Path2D();
    const thick = new Path2D();
    for (let cut = first; cut <= last; cut++) {
      const x = this.x(film.at(cut));
      const path = isBoundary.has(cut) ? thick : thin;
      path.moveTo(x, this.y(0));
      path.lineTo(x, this.y(Math.max(film.scores[cut], 0.004)));
    }
    c.lineWidth = 1;
    c.strokeStyle = colour.line;
    c.stroke(thin);
    c.lineWidth = Math.max(1, Math.min(3, (this.width / (last - first + 1)) * 1.6));
    c.strokeStyle = colour.accent;
    c.stroke(thick);
    c.lineWidth = 1;
  }

  range() {
    const { film } = this.store;
    return film.cuts > 0
      ? [Math.max(0, film.cutAt(this.view[0]) - 1), Math.min(film.cuts - 1, film.cutAt(this.view[1]) + 1)]
      : [0, -1];
  }

  drawMarks(c) {
    const { film, edit, ads, cursor } = this.store;
    const at = (cut) => this.x(film.at(cut));
    for (const cut of edit.decision.locked ?? []) square(c, at(cut), this.y(film.scores[cut]), this.colour.lock);
    for (const cut of edit.decision.barred ?? []) cross(c, at(cut), this.y(film.scores[cut]), this.colour.soft);
    for (const cut of ads) diamond(c, at(cut), this.y(0), this.colour.ad);
    const vertical = (cut, style, dash) => {
      c.strokeStyle = style;
      c.setLineDash(dash);
      const x = Math.round(at(cut)) + 0.5;
      line(c, x, MARGIN.top - 4, x, this.y(0));
      c.setLineDash([]);
    };
    vertical(cursor, this.colour.ink, []);
    c.fillStyle = this.colour.ink;
    triangle(c, at(cursor), MARGIN.top - 4);
    if (this.hover !== null) vertical(this.hover, this.colour.soft, [2, 3]);
    if (this.ghost !== null) vertical(this.ghost, this.colour.lock, []);
  }

  /** Pictures side by side, each of the shot that is in its middle. */
  drawFilm(c) {
    const { film } = this.store;
    const [left, right] = [MARGIN.left, this.width - MARGIN.right];
    const count = Math.max(1, Math.round((right - left) / ((FILM * 16) / 9)));
    const width = (right - left) / count;
    for (let place = 0; place < count; place++) {
      const shot = film.shotAt(this.place(left + (place + 0.5) * width));
      c.fillStyle = this.colour.faint;
      c.fillRect(left + place * width, this.height - FILM, width - 2, FILM);
      const image = this.image(shot);
      if (image) drawCovering(c, image, left + place * width, this.height - FILM, width - 2, FILM);
    }
  }

  /** The picture of a shot, once it is decoded; the curve is drawn again then. */
  image(shot) {
    const url = this.store.film.pictures[shot];
    if (!url) return null;
    if (!this.images.has(shot)) {
      const image = new Image();
      image.onload = () => (this.later ??= requestAnimationFrame(() => ((this.later = null), this.draw())));
      image.src = url;
      this.images.set(shot, image);
    }
    const image = this.images.get(shot);
    return image.complete && image.naturalWidth ? image : null;
  }

  drawThreshold(c) {
    const { film, edit } = this.store;
    if (!film.editable) return;
    const { threshold, num_scenes: count } = edit.decision;
    const y = Math.round(this.y(threshold)) + 0.5;
    c.strokeStyle = count === null ? this.colour.ink : this.colour.line;
    c.setLineDash([5, 4]);
    line(c, MARGIN.left, y, this.width - MARGIN.right, y);
    c.setLineDash([]);
    if (count !== null) return;
    const text = threshold.toFixed(2);
    const width = c.measureText(text).width + 12;
    c.fillStyle = this.colour.ink;
    c.beginPath();
    c.roundRect(this.width - MARGIN.right - width, y - 9, width, 18, 9);
    c.fill();
    c.fillStyle = this.colour.panel;
    c.textAlign = "center";
    c.fillText(text, this.width - MARGIN.right - width / 2, y + 0.5);
  }
}

function line(c, x0, y0, x1, y1) {
  c.beginPath();
  c.moveTo(x0, y0);
  c.lineTo(x1, y1);
  c.stroke();
}

/** Draw an image so that it covers a box, its edges cut off where the shapes differ. */
function drawCovering(c, image, x, y, width, height) {
  const scale = Math.max(width / image.naturalWidth, height / image.naturalHeight);
  const [wide, high] = [width / scale, height / scale];
  c.drawImage(
    image,
    (image.naturalWidth - wide) / 2,
    (image.naturalHeight - high) / 2,
    wide,
    high,
    x,
    y,
    width,
    height,
  );
}

function square(c, x, y, style) {
  c.fillStyle = style;
  c.fillRect(x - 3.5, y - 3.5, 7, 7);
}

function cross(c, x, y, style) {
  c.strokeStyle = style;
  line(c, x - 3, y - 3, x + 3, y + 3);
  line(c, x - 3, y + 3, x + 3, y - 3);
}

function polygon(c, points) {
  c.beginPath();
  for (const [x, y] of points) c.lineTo(x, y);
  c.fill();
}

function diamond(c, x, y, style) {
  c.fillStyle = style;
  polygon(c, [
    [x, y - 6],
    [x + 5, y],
    [x, y + 6],
    [x - 5, y],
  ]);
}

function triangle(c, x, y) {
  polygon(c, [
    [x - 5, y - 5],
    [x + 5, y - 5],
    [x, y + 2],
  ]);
}

function clipped(c, text, width) {
  if (c.measureText(text).width <= width) return text;
  let shown = [...text];
  while (shown.length && c.measureText(`${shown.join("")}…`).width > width) shown.pop();
  return shown.length ? `${shown.join("")}…` : "";
}
