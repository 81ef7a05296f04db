// Says of what is printed which request it is about, in the words of `switchyard_protocol::Mark`,
// and hands errors that a server would only print to the cell. Loaded before the project's code.
// What the project does to the prototypes of JavaScript's own classes does not change this: their
// methods are taken from Deno's primordials.

import { core, internals, primordials } from "ext:core/mod.js";

const {
  ArrayPrototypeFind,
  FunctionPrototypeBind,
  ObjectAssign,
  ObjectCreate,
  ObjectDefineProperty,
  ObjectGetOwnPropertyDescriptors,
  ObjectGetPrototypeOf,
  ObjectKeys,
  ObjectPrototypeIsPrototypeOf,
  PromisePrototype,
  PromisePrototypeThen,
  SafeArrayIterator,
  SafeWeakMap,
  StringPrototypeReplaceAll,
  StringPrototypeSlice,
} = primordials;
const { AsyncVariable, callConsole, getAsyncContext, print, setAsyncContext, v8Console } = core;

// Given by the cell: prints an error as the project's, and says which request the next one is
// about.
export default function mark(tell, blame) {
  const { addEventListener, console, Deno } = globalThis;
  const current = new AsyncVariable();
  const blamed = new SafeWeakMap();

  // The header is not read until somebody wants to know.
  class Asked {
    #request;
    #id;
    constructor(request) {
      this.#request = request;
    }
    get id() {
      if (this.#id === undefined) {
        try {
          this.#id = this.#request.headers.get("x-request-id") ?? "";
        } catch {
          this.#id = ""; // It is over, and nobody asked before.
        }
        this.#request = undefined;
      }
      return this.#id;
    }
  }

  const id = () => current.get()?.id ?? "";

  const remember = (error) => {
    if (typeof error === "function" || (typeof error === "object" && error !== null)) {
      blamed.set(error, id());
    }
  };

  const within = (request, info, handler) => {
    const before = getAsyncContext();
    current.enter(new Asked(request));
    try {
      const answer = handler(request, info);
      if (ObjectPrototypeIsPrototypeOf(PromisePrototype, answer)) {
        PromisePrototypeThen(answer, undefined, remember);
      }
      return answer;
    } catch (error) {
      remember(error);
      throw error;
    } finally {
      setAsyncContext(before);
    }
  };

  // One that takes no request is called without one being made.
  const around = (handler) =>
    typeof handler !== "function" || handler.length === 0
      ? handler
      : (request, info) => within(request, info, handler);

  const { serve } = Deno;
  Deno.serve = (first, second) => {
    if (typeof first === "function") {
      return serve(around(first), second);
    }
    if (typeof second === "function" || typeof first?.handler !== "function") {
      return serve(first, around(second));
    }
    const own = ObjectGetOwnPropertyDescriptors(first);
    const options = ObjectCreate(ObjectGetPrototypeOf(first), own);
    const handler = { __proto__: null, value: around(first.handler) };
    return serve(ObjectDefineProperty(options, "handler", handler), second);
  };
  ObjectDefineProperty(Deno.serve, "name", { value: "serve" });

  const marked = (text) => {
    const request = id();
    if (request === "") {
      return text;
    }
    const mark = `\x1e${request}\x1f`;
    const lines = StringPrototypeReplaceAll(StringPrototypeSlice(text, 0, -1), "\n", `\n${mark}`);
    return mark + lines + StringPrototypeSlice(text, -1);
  };
  ObjectAssign(console, new internals.Console((text, level) => print(marked(text), level > 1)));
  // Debuggers are told too, as by the console that this replaces.
  for (const name of new SafeArrayIterator(ObjectKeys(v8Console))) {
    const tell = v8Console[name];
    const print = console[name];
    if (typeof print === "function" && print !== tell) {
      const both = FunctionPrototypeBind(callConsole, console, tell, print);
      console[name] = ObjectDefineProperty(both, "name", { value: name });
    }
  }

  const { inspectArgs, log } = internals;
  internals.log = (level, ...args) => {
    if (level !== "error") {
      return log(level, ...new SafeArrayIterator(args));
    }
    const error = ArrayPrototypeFind(args, (arg) => blamed.has(arg));
    blame(error === undefined ? id() : blamed.get(error));
    tell(inspectArgs(args));
    blame("");
  };

  // What nobody catches ends the version: the cell prints it.
  for (const kind of new SafeArrayIterator(["error", "unhandledrejection"])) {
    addEventListener(kind, (event) => blame(blamed.get(event.error ?? event.reason) ?? id()));
  }
}
