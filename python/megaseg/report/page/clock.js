// Times for reading: clocks, timecodes and lengths. Ticks are exact; seconds are for drawing.

/** Hours, minutes and seconds, such as 1:02:03, or with tenths. */
export function clock(seconds, tenths = false) {
  const units = tenths ? Math.round(seconds * 10) : Math.floor(seconds + 1e-9) * 10;
  const whole = Math.floor(units / 10);
  const two = (value) => String(value).padStart(2, "0");
  const text = `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  return tenths ? `${text}.${units % 10}` : text;
}

/** A length of time such as 42 s, 3 m 05 s or 1 h 02 m. */
export function span(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return seconds < 10 ? `${seconds.toFixed(1)} s` : `${whole} s`;
  const two = (value) => String(value).padStart(2, "0");
  if (whole < 3600) return `${Math.floor(whole / 60)} m ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor(whole / 60) % 60)} m`;
}

/** Number of the frame nearest to a tick, halves up; base and rate are [numerator, denominator]. */
export function frameOf(ticks, base, rate) {
  const [over, under] = [BigInt(ticks) * BigInt(base[0]) * BigInt(rate[0]), BigInt(base[1]) * BigInt(rate[1])];
  const twice = 2n * over + under;
  const floor = twice / (2n * under);
  return Number(twice < 0n && floor * 2n * under !== twice ? floor - 1n : floor);
}

/** Timecode of a frame's number; with drop frames a minute skips two (at 59.94 four) numbers, every tenth skips none. */
export function timecode(frame, rate, drop) {
  const base = Math.round(rate[0] / rate[1]);
  let number = frame;
  if (drop) {
    const skipped = Math.round(base / 15);
    const tenMinutes = base * 600 - 9 * skipped;
    const [tens, rest] = [Math.floor(number / tenMinutes), number % tenMinutes];
    number += tens * 9 * skipped;
    if (rest >= base * 60) number += skipped * (1 + Math.floor((rest - base * 60) / (base * 60 - skipped)));
  }
  const two = (value) => String(value).padStart(2, "0");
  const seconds = Math.floor(number / base);
  const clockPart = `${two(Math.floor(seconds / 3600) % 24)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}`;
  return `${clockPart}${drop ? ";" : ":"}${two(number % base)}`;
}
