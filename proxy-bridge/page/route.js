// @ts-check
// The address: `#/projects/blog/logs?stream=stderr`. All that a screen shows can be found again by
// it. It is behind the `#`, so that the page works below any path.

import { signal } from "./lib.js";

export const route = signal(parse(location.hash));

function parse(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  const parts = path.split("/").filter(Boolean).map((text) => {
    try {
      return decodeURIComponent(text);
    } catch {
      return text;
    }
  });
  return {
    parts,
    path: "/" + parts.map(encodeURIComponent).join("/"),
    query: new URLSearchParams(query),
  };
}

// Reads the address again.
export function readAddress() {
  route.value = parse(location.hash);
}

addEventListener("hashchange", readAddress);

// Returns the address of a screen.
export function to(...parts) {
  return "#/" + parts.map(encodeURIComponent).join("/");
}

export function go(address) {
  location.hash = address;
}

// Changes the query in place: typing a filter makes no entries in the history.
export function setQuery(changes) {
  const query = new URLSearchParams(route.value.query);
  for (const [name, value] of Object.entries(changes)) {
    if (value) query.set(name, value);
    else query.delete(name);
  }
  const text = query.toString();
  history.replaceState(null, "", "#" + route.value.path + (text ? "?" + text : ""));
  route.value = parse(location.hash);
}
