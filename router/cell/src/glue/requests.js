// @ts-check
// Marks the project's output with the request that it belongs to, in the form of
// `switchyard_protocol::Mark`, and reports errors that a server would only print to the cell.
// Loaded before the project's code. Changes of the project to the prototypes of JavaScript's own
// classes do not affect this module, which takes their methods from Deno's primordials.

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
  Symbol,
} = primordials;
const { callConsole, getAsyncContext, print, setAsyncContext, v8Console } = core;

const OWNER = Symbol("owner");

// An async context as Deno's variables make them: an object without a prototype, from which each of
// them copies what the others have. The owner is in no such variable: its weak map would keep each
// request alive until a full collection, and make all collections slow.
function Context(owner) {
  this[OWNER] = owner;
}
Context.prototype = { __proto__: null };

function contextWith(owner, before) {
  return before ? { __proto__: null, ...before, [OWNER]: owner } : new Context(owner);
}

// Called by the cell. `report`: prints an error to the project's log. `setRequest`: sets the
// request that the next error belongs to.
export default function mark(report, setRequest) {
  const { addEventListener, console, Deno } = globalThis;
  const requestOf = new SafeWeakMap();

  // The id of a request, whose header is read only when the id is first needed.
  class RequestId {
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
          this.#id = ""; // The request has ended.
        }
        this.#request = undefined;
      }
      return this.#id;
    }
  }

  // The run that a line belongs to if it belongs to no request.
  let run = "";

  const id = () => getAsyncContext()?.[OWNER]?.id ?? run;

  internals.markRun = (id) => {
    run = id;
    setRequest(id);
  };

  const remember = (error) => {
    if (typeof error === "function" || (typeof error === "object" && error !== null)) {
      requestOf.set(error, id());
    }
  };

  // Calls a handler whose output belongs to `owner`, which has an `id`.
  const inside = (owner, call) => {
    const before = getAsyncContext();
    setAsyncContext(contextWith(owner, before));
    try {
      const answer = call();
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

  // For `crons.js`.
  ObjectDefineProperty(internals, "inside", { __proto__: null, value: inside });

  const within = (request, info, handler) =>
    inside(new RequestId(request), () => handler(request, info));

  // A handler without parameters is called directly, so that no request has to be made.
  const around = (handler) =>
    typeof handler !== "function" || handler.length === 0
      ? handler
      : (request, info) => within(request, info, handler);

  // For `transport.js`.
  ObjectDefineProperty(internals, "markHandler", { __proto__: null, value: around });

  const { serve } = Deno;
  /** @type {(first: any, second?: any) => any} */
  const serveMarked = (first, second) => {
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
  Deno.serve = ObjectDefineProperty(serveMarked, "name", { value: "serve" });

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
  // Debuggers get the output too, as from the console that this replaces.
  for (const name of new SafeArrayIterator(ObjectKeys(v8Console))) {
    const inspect = v8Console[name];
    const print = console[name];
    if (typeof print === "function" && print !== inspect) {
      const both = FunctionPrototypeBind(callConsole, console, inspect, print);
      console[name] = ObjectDefineProperty(both, "name", { value: name });
    }
  }

  const { inspectArgs, log } = internals;
  internals.log = (level, ...args) => {
    if (level !== "error") {
      return log(level, ...new SafeArrayIterator(args));
    }
    const error = ArrayPrototypeFind(args, (arg) => requestOf.has(arg));
    setRequest(error === undefined ? id() : requestOf.get(error));
    report(inspectArgs(args));
    setRequest(run);
  };

  // An uncaught error ends the version, and the cell prints it.
  for (const kind of new SafeArrayIterator(["error", "unhandledrejection"])) {
    addEventListener(
      kind,
      /** @param {any} event */
      (event) => setRequest(requestOf.get(event.error ?? event.reason) ?? id()),
    );
  }
}
