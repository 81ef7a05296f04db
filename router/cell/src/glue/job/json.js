// @ts-check
// JSON of values that a project's code returns, with errors that say what is wrong with them.

import { primordials } from "ext:core/mod.js";

const { JSONStringify, TypeError } = primordials;

// Returns the message of anything that was thrown.
export function messageOf(error) {
  try {
    return typeof error === "object" && error !== null && "message" in error
      ? `${error.message}`
      : `${error}`;
  } catch {
    return "an error without a text";
  }
}

// Returns a value as JSON of at most `most` characters. `what` is its name in errors.
export function toJson(value, what, most) {
  if (value === undefined) return "null";
  let text;
  try {
    text = JSONStringify(value);
  } catch (error) {
    throw new TypeError(`${what} cannot be written as JSON: ${messageOf(error)}`);
  }
  if (text === undefined) throw new TypeError(`${what} is a ${typeof value}: return JSON`);
  if (text.length > most) {
    throw new TypeError(
      `${what} has ${text.length} bytes as JSON, and may have ${most} (the policy's "run_result"): ` +
        "write it to a file below DATA_DIR, and return its name",
    );
  }
  return text;
}
