// Scores to scenes, sum for sum as engine/tasks/decoding.py decides: float64 throughout, and the same order of adding.

const LOCKED_GAIN = 1e6; // more than any sum of scores

/** Cuts after which a scene ends, for scores (shots,) and a decision {threshold, min_scene_length, num_scenes, locked,
 * barred}. Throws RangeError for what the movie does not allow. */
export function sceneBoundaries(scores, decision) {
  const { threshold, min_scene_length: gap, num_scenes: wanted = null } = decision;
  const locked = [...new Set(decision.locked ?? [])].sort((a, b) => a - b);
  const barred = new Set(decision.barred ?? []);
  checkChoice(threshold, gap, wanted);
  checkEdits(scores.length, locked, barred);
  if (wanted === null) return byThreshold(scores, threshold, gap, locked, barred);
  checkCount(scores.length, wanted, gap, locked);
  return byCount(scores, wanted - 1, gap, locked, barred);
}

function checkChoice(threshold, gap, wanted) {
  if (!(threshold >= 0 && threshold <= 1)) throw new RangeError(`The threshold must be from 0 to 1, not ${threshold}.`);
  if (!(Number.isInteger(gap) && gap >= 1)) throw new RangeError("A scene must have at least 1 shot.");
  if (wanted !== null && !(Number.isInteger(wanted) && wanted >= 1))
    throw new RangeError("There must be at least 1 scene.");
}

function checkEdits(shots, locked, barred) {
  const outside = [...locked, ...barred].find((cut) => !(cut >= 0 && cut < shots - 1));
  if (outside !== undefined) throw new RangeError(`No boundary can be edited after shot ${outside} of ${shots}.`);
  for (const cut of locked) {
    if (barred.has(cut)) throw new RangeError(`The end of shot ${cut} is both locked and deleted.`);
  }
}

function checkCount(shots, wanted, gap, locked) {
  const most = Math.max(1, Math.floor(shots / gap));
  if (wanted * gap > Math.max(shots, gap)) {
    throw new RangeError(`${shots} shots have room for 1 to ${most} scenes of at least ${gap} shots, not ${wanted}.`);
  }
  if (locked.length > wanted - 1) {
    throw new RangeError(
      `${locked.length} locked boundaries make at least ${locked.length + 1} scenes, not ${wanted}.`,
    );
  }
  const ends = [-1, ...locked, shots - 1];
  if (locked.length && ends.some((end, place) => place && end - ends[place - 1] < gap)) {
    throw new RangeError(`Locked boundaries are nearer to each other, or to the film's ends, than ${gap} shots.`);
  }
}

function byThreshold(scores, threshold, gap, locked, barred) {
  const fixed = [-1, ...locked, scores.length - 1];
  const found = [];
  for (let part = 0; part + 1 < fixed.length; part++) {
    const [from, to] = [fixed[part], fixed[part + 1]];
    const candidates = [];
    for (let cut = from + gap; cut <= to - gap; cut++) {
      if (cut < to && scores[cut] >= threshold && !barred.has(cut)) candidates.push(cut);
    }
    found.push(...(gap === 1 ? candidates : bestApart(scores, candidates, threshold, gap)));
    if (to < scores.length - 1) found.push(to);
  }
  return found;
}

/** The candidates at least gap apart with the largest sum of scores above the threshold. */
function bestApart(scores, candidates, threshold, gap) {
  const count = candidates.length;
  const best = new Float64Array(count + 1); // best[k]: largest gain over the first k candidates
  const before = new Int32Array(count);
  for (let k = 0, fits = 0; k < count; k++) {
    while (candidates[fits] <= candidates[k] - gap) fits++;
    before[k] = fits;
    const gain = scores[candidates[k]] - threshold + 1e-12; // a boundary at the threshold still counts a little
    best[k + 1] = Math.max(best[k], best[fits] + gain);
  }
  const chosen = [];
  for (let k = count; k;) {
    if (best[k] > best[k - 1]) {
      chosen.push(candidates[k - 1]);
      k = before[k - 1];
    } else k--;
  }
  return chosen.reverse();
}

function byCount(scores, count, gap, locked, barred) {
  const cuts = Math.max(0, scores.length - 1);
  const fixed = new Set(locked);
  const gains = Float64Array.from({ length: cuts }, (_, cut) => (barred.has(cut) ? -Infinity : scores[cut]));
  for (const cut of locked) gains.fill(-Infinity, Math.max(0, cut - gap + 1), cut + gap);
  for (const cut of locked) gains[cut] = scores[cut] + LOCKED_GAIN;
  const [first, last] = [gap - 1, scores.length - 1 - gap];
  if (count > mostApart(gains, gap, first, last)) {
    throw new RangeError(`The locked and deleted boundaries leave no room for ${count + 1} scenes of that length.`);
  }
  if (gap > 1) return bestIncreasing(gains, count, gap, first, last);
  const others = Array.from({ length: cuts }, (_, cut) => cut).filter((cut) => !fixed.has(cut) && !barred.has(cut));
  others.sort((a, b) => scores[b] - scores[a]); // stable
  return [...locked, ...others.slice(0, count - locked.length)].sort((a, b) => a - b);
}

/** How many possible rows within first..last can be at least gap apart. */
function mostApart(gains, gap, first, last) {
  let found = 0;
  for (let row = first; row <= last; row++) {
    if (gains[row] === -Infinity) continue;
    found++;
    row += gap - 1;
  }
  return found;
}

/** Rows r_0 < r_1 < ... at least gap apart, within first..last, that maximise the sum of gains. */
function bestIncreasing(gains, count, gap, first, last) {
  const rows = gains.length;
  const value = Array.from({ length: count }, () => new Float64Array(rows).fill(-Infinity));
  for (let k = 0; k < count; k++) {
    let reach = k ? -Infinity : 0; // best of the previous pick over rows <= row - gap
    for (let row = 0; row <= last; row++) {
      if (k && row >= gap) reach = Math.max(reach, value[k - 1][row - gap]);
      if (row >= first) value[k][row] = reach + gains[row];
    }
  }
  const picks = new Array(count);
  for (let k = count - 1, end = rows; k >= 0; k--) {
    let pick = 0;
    for (let row = 1; row < end; row++) if (value[k][row] > value[k][pick]) pick = row;
    picks[k] = pick;
    end = Math.max(pick - gap + 1, 0);
  }
  return picks;
}
