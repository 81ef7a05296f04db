// @ts-check
// Keys: one list, which the `?` sheet shows and the page obeys.

import { signal } from "./lib.js";
import { go } from "./route.js";

export const sheetOpen = signal(false);

// How long the second key of a pair may take.
const PAIR = 1200;

const SCREENS = {
  p: ["projects", ""],
  d: ["deploys", "deploys"],
  s: ["sources", "sources"],
  t: ["tasks and runs", "tasks"],
  e: ["events", "events"],
  r: ["routers", "routers"],
};

export const SHEET = [
  ["/", "search this list"],
  ["j, k", "next, previous row"],
  ["Enter", "open the row"],
  ...Object.entries(SCREENS).map(([key, [name]]) => [`g ${key}`, `go to ${name}`]),
  ["n", "new deploy"],
  ["?", "this sheet"],
  ["Esc", "close, or leave the search"],
];

let begun = 0;

export function listen() {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.key === "Escape" && target.matches("input[type=search]")) {
      // The browser would also empty the field.
      event.preventDefault();
      return target.blur();
    }
    if (target.matches("input, textarea, select") || document.querySelector("dialog[open]")) return;
    if (press(event.key)) event.preventDefault();
  });
}

// Returns true if the key means something.
function press(key) {
  const isSecond = Date.now() - begun < PAIR;
  begun = 0;
  if (isSecond && SCREENS[key]) go(`#/${SCREENS[key][1]}`);
  else if (key === "g") begun = Date.now();
  else if (key === "j" || key === "k") step(key === "j" ? 1 : -1);
  else if (key === "n") go("#/deploys/new");
  else if (key === "?") sheetOpen.value = true;
  else if (key === "/") /** @type {any} */ (document.querySelector("input[type=search]"))?.focus();
  else return false;
  return true;
}

// Moves the focus to another row of the screen's list.
function step(by) {
  const rows = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("[data-row]")]);
  const at = rows.findIndex((row) => row === document.activeElement);
  const next = at === -1 ? (by > 0 ? 0 : rows.length - 1) : at + by;
  const row = rows[Math.max(0, Math.min(rows.length - 1, next))];
  row?.focus();
  row?.scrollIntoView({ block: "nearest" });
}
