// Says of what is refused what a project can do about it here: Deno's texts advise its own flags,
// which nobody can give to a cell. And gives these errors the code by which Node's programs know
// them. Loaded in each isolate before the project's code.

import { core, primordials } from "ext:core/mod.js";

const { Error, ObjectDefineProperty, ObjectSetPrototypeOf, ReflectConstruct } = primordials;
const { NotCapable } = core;

const CODE = "EACCES";

// Given by the cell. `explain`: the text in place of one of Deno's, or undefined.
export default function explainRefusals(explain) {
  // What the class's own constructor calls by `super`.
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
  // Errors of calls that V8 has compiled to go straight to native code are made without it.
  ObjectDefineProperty(NotCapable.prototype, "code", {
    __proto__: null,
    value: CODE,
    writable: true,
    configurable: true,
  });
}
