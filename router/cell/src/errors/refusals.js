// @ts-check
// Replaces the texts of refused permissions: Deno's advise flags, which a cell does not have. Also
// sets the code by which Node's programs recognize these errors. Loaded in each isolate before the
// project's code.

import { core, primordials } from "ext:core/mod.js";

const { Error, ObjectDefineProperty, ObjectSetPrototypeOf, ReflectConstruct } = primordials;
const { NotCapable } = core;

const CODE = "EACCES";

// Called by the cell. `explain`: returns the replacement of a text of Deno's, or undefined.
export default function explainRefusals(explain) {
  // The constructor that the class's own constructor calls as `super`.
  function Refusal(message, options) {
    const text = typeof message === "string" ? explain(message) ?? message : message;
    const error = ReflectConstruct(Error, [text, options], new.target);
    error.code = CODE;
    return error;
  }
  ObjectDefineProperty(Refusal, "name", { __proto__: null, value: "Error" });
  Refusal.prototype = Error.prototype;
  ObjectSetPrototypeOf(Refusal, Error);
  ObjectSetPrototypeOf(NotCapable, Refusal);
  // For errors of V8's fast calls to native code, which are made without the constructor.
  ObjectDefineProperty(NotCapable.prototype, "code", {
    __proto__: null,
    value: CODE,
    writable: true,
    configurable: true,
  });
}
