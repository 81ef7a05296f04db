// @ts-check
// Text of others, and numbers and times, as people read them.

const CONTROLS =
  // deno-lint-ignore no-control-regex
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

// Shows characters that a terminal or a browser would obey: ESC as ␛, others by their code point.
export function visible(text) {
  return String(text).replace(CONTROLS, (character) => {
    const code = character.codePointAt(0);
    if (code < 0x20) return String.fromCodePoint(0x2400 + code);
    if (code === 0x7f) return "\u2421";
    return `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

// Characters of a line that are shown at once.
export const SHOWN = 2000;

export function bytes(count) {
  if (count === null || count === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${count >= 10 || unit === 0 ? Math.round(count) : count.toFixed(1)} ${units[unit]}`;
}

// A part of a whole, with the unit once.
export function bytesOf(count, all) {
  const [part, whole] = [bytes(count).split(" "), bytes(all).split(" ")];
  return [part[1] === whole[1] ? part[0] : part.join(" "), whole.join(" ")];
}

export function millis(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms < 0.1) return "< 0.1 ms";
  if (ms < 10) return `${Number(ms.toFixed(1))} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min ${Math.round(ms % 60_000 / 1000)} s`;
  return `${Math.floor(ms / 3_600_000)} h ${Math.round(ms % 3_600_000 / 60_000)} min`;
}

// A number that may be small.
export function amount(number) {
  if (Number.isInteger(number)) return number.toLocaleString("en");
  if (number < 0.01) return "< 0.01";
  if (number < 1) return number.toPrecision(2);
  return number < 10 ? number.toFixed(1) : Math.round(number).toLocaleString("en");
}

// A share from 0 to 1.
export function percent(share) {
  return `${amount(share * 100)} %`;
}

// A time as one says it: "3 min ago", "in 2 h".
export function ago(at, now = Date.now()) {
  const seconds = (now - Date.parse(at)) / 1000;
  if (!Number.isFinite(seconds)) return "–";
  const far = Math.abs(seconds);
  let text;
  if (far < 5) return seconds < 0 ? "in a moment" : "now";
  if (far < 60) text = `${Math.round(far)} s`;
  else if (far < 3600) text = `${Math.round(far / 60)} min`;
  else if (far < 86_400) text = `${Math.round(far / 3600)} h`;
  else text = `${Math.round(far / 86_400)} d`;
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}

const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

// The whole time in the reader's zone.
export function full(at) {
  const time = Date.parse(at);
  return Number.isFinite(time) ? FULL.format(time) : "";
}

// The time of day with milliseconds.
export function clock(at) {
  const time = new Date(at);
  if (Number.isNaN(time.getTime())) return "";
  const two = (number, digits = 2) => String(number).padStart(digits, "0");
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}.${
    two(time.getMilliseconds(), 3)
  }`;
}

// The short digest of `blog@3f9a1c2b7d4e`.
export function short(version) {
  return version ? version.slice(version.indexOf("@") + 1) : "";
}

export function plural(count, one, many = one + "s") {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

// The files that caused a reload: "main.ts and 2 more".
export function changedFiles({ first, count }) {
  return count > 1 ? `${first} and ${(count - 1).toLocaleString("en")} more` : first;
}

// The host and port of a router's URL, which is its name.
export function host(url) {
  return String(url ?? "").replace(/^https?:\/\//, "");
}
