// @ts-check
// A registry: a module whose default export names the modules of pipelines' steps.

import { primordials } from "ext:core/mod.js";

const { JSONStringify, ObjectEntries, SafeArrayIterator, TypeError } = primordials;

// Returns the default export as JSON: an object of names and paths.
export default function read(exports) {
  let registry = exports.default;
  if (registry?.__esModule && registry.default !== undefined) registry = registry.default;
  if (typeof registry !== "object" || registry === null) {
    throw new TypeError(
      'A registry has to export an object of names and paths: export default { research: "./research.js" }',
    );
  }
  const paths = { __proto__: null };
  for (const [name, path] of new SafeArrayIterator(ObjectEntries(registry))) {
    if (typeof path !== "string") {
      throw new TypeError(
        `The registry's "${name}" is a ${typeof path}: it has to be the path of a module`,
      );
    }
    paths[name] = path;
  }
  return JSONStringify(paths);
}
