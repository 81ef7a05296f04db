// @ts-check
// The token of this tab, and what it allows. It is kept in sessionStorage: never in a cookie, which
// the browser would send to every project on this host too.

import { signal } from "./lib.js";

const KEY = "switchyard-token";

// True while the API asks for a token.
export const signedOut = signal(false);
// The answer of /whoami; undefined until it is there.
export const caller = signal(/** @type {any} */ (undefined));

export function token() {
  return sessionStorage.getItem(KEY) ?? "";
}

export function setToken(text) {
  if (text) sessionStorage.setItem(KEY, text);
  else sessionStorage.removeItem(KEY);
}

// Takes a token from the address (`#token=…`), which no server sees, and removes it from there.
export function takeToken() {
  const found = /^#token=([!-~]+)$/.exec(location.hash);
  if (!found) return;
  setToken(decodeURIComponent(found[1]));
  history.replaceState(null, "", location.pathname + location.search);
}

// Returns true if the token allows an action; on a project, or on any without one.
export function may(action, project) {
  const info = caller.value;
  if (!info || !info.actions.includes(action)) return false;
  return project === undefined || info.projects.some((pattern) => covers(pattern, project));
}

function covers(pattern, project) {
  return pattern.endsWith("*") ? project.startsWith(pattern.slice(0, -1)) : pattern === project;
}
