// @ts-check
// What this bridge can do, by its OpenAPI document: an older one offers less.

import { get } from "./api.js";
import { signal, useEffect } from "./lib.js";

const paths = signal(/** @type {Record<string, any> | undefined} */ (undefined));
let asked = false;

// Reads the document, once.
export function useFeatures() {
  useEffect(() => {
    if (asked) return;
    asked = true;
    get("openapi.json").then((document) => paths.value = document.paths, () => asked = false);
  }, []);
}

// Returns true if there is such an endpoint; with a parameter of that name, if one is given.
export function has(method, path, parameter) {
  const operation = paths.value?.[path]?.[method];
  if (!operation) return false;
  return !parameter || operation.parameters?.some(({ name }) => name === parameter) === true;
}
