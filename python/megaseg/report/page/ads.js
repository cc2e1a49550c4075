// Ad breaks by rules, sum for sum as export/ads/ chooses them, among the ends of scenes.

import { actOf } from "./names.js";

const [LOUD, SOFT] = [-20, -60]; // dB of full scale: quietness 0 and 1
const [QUIET_WEIGHT, ACT_WEIGHT] = [0.5, 0.25]; // in units of a boundary's score

/** Cuts at which an ad break is best, for scenes and rules {spacing, head, tail, per_hour} in seconds; none without times. */
export function adCuts(film, scenes, rules) {
  if (!film.timed || !rules) return [];
  const duration = film.endOf(film.shots - 1);
  const speech = (film.source.speech ?? []).map((part) => part.map((tick) => film.seconds(tick)));
  const endsAct = scenes.map(
    (scene, place) =>
      place + 1 < scenes.length && actOf(film, scene.first_shot) !== actOf(film, scenes[place + 1].first_shot),
  );
  const free = scenes
    .slice(0, -1)
    .flatMap((scene, place) => (isAllowed(rules, film.at(scene.last_shot), speech, duration) ? [place] : []));
  const values = free.map((place) =>
    worth(scenes[place].score, film.source.loudness?.[scenes[place].last_shot] ?? null, endsAct[place]),
  );
  const cuts = free.map((place) => scenes[place].last_shot);
  return choose(
    rules,
    cuts.map((cut) => film.at(cut)),
    values,
    duration,
  ).map((place) => cuts[place]);
}

function isAllowed(rules, time, speech, duration) {
  let [low, high] = [0, speech.length]; // number of spans that begin before the time
  while (low < high) {
    const middle = (low + high) >> 1;
    if (speech[middle][0] < time) low = middle + 1;
    else high = middle;
  }
  const inside = low > 0 && time < speech[low - 1][1];
  return time >= rules.head && time <= duration - rules.tail && !inside;
}

function worth(score, loudness, endsAct) {
  const quiet = loudness === null ? 0 : Math.min(1, Math.max(0, (LOUD - Math.fround(loudness)) / (LOUD - SOFT)));
  return score + QUIET_WEIGHT * quiet - ACT_WEIGHT * (endsAct ? 1 : 0);
}

function choose(rules, times, values, duration) {
  const [count, most] = [times.length, Math.min(Math.floor((rules.per_hour * duration) / 3600), times.length)];
  if (most < 1) return [];
  const gap = Math.max(rules.spacing, 3600 / rules.per_hour);
  const before = new Int32Array(count);
  const best = Array.from({ length: most + 1 }, () => new Float64Array(count + 1)); // [c][k]: at most c of the first k
  for (let k = 0, far = 0; k < count; k++) {
    while (far < k && times[k] - times[far] >= gap) far++;
    before[k] = far;
    for (let c = 1; c <= most; c++) best[c][k + 1] = Math.max(best[c][k], best[c - 1][far] + values[k]);
  }
  const chosen = [];
  for (let c = most, k = count; k && c;) {
    if (best[c][k] > best[c][k - 1]) {
      chosen.push(k - 1);
      k = before[k - 1];
      c--;
    } else k--;
  }
  return chosen.reverse();
}
