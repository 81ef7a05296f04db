// Says of what is printed which request it is about, in the words of `switchyard_protocol::Mark`, and hands errors that a
// server would only print to the cell. Run before the project's code.
((tell, blame) => {
  const { addEventListener, Deno, Object, Promise, WeakMap } = globalThis;
  const internals = Deno[Deno.internal];
  const { AsyncVariable, callConsole, getAsyncContext, print, setAsyncContext, v8Console } = internals.core;
  const current = new AsyncVariable();
  const blamed = new WeakMap();

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
    if (Object(error) === error) {
      blamed.set(error, id());
    }
  };

  const within = (request, info, handler) => {
    const before = getAsyncContext();
    current.enter(new Asked(request));
    try {
      const answer = handler(request, info);
      if (answer instanceof Promise) {
        answer.then(undefined, remember);
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
    const options = Object.create(Object.getPrototypeOf(first), Object.getOwnPropertyDescriptors(first));
    return serve(Object.defineProperty(options, "handler", { value: around(first.handler) }), second);
  };
  Object.defineProperty(Deno.serve, "name", { value: "serve" });

  const marked = (text) => {
    const request = id();
    if (request === "") {
      return text;
    }
    const mark = `\x1e${request}\x1f`;
    return mark + text.slice(0, -1).replaceAll("\n", `\n${mark}`) + text.slice(-1);
  };
  const { console } = globalThis;
  Object.assign(console, new internals.Console((text, level) => print(marked(text), level > 1)));
  // Debuggers are told too, as by the console that this replaces.
  for (const [name, tell] of Object.entries(v8Console)) {
    const print = console[name];
    if (typeof print === "function" && print !== tell) {
      console[name] = Object.defineProperty(callConsole.bind(console, tell, print), "name", { value: name });
    }
  }

  const { inspectArgs, log } = internals;
  internals.log = (level, ...args) => {
    if (level !== "error") {
      return log(level, ...args);
    }
    const error = args.find((arg) => blamed.has(arg));
    blame(error === undefined ? id() : blamed.get(error));
    tell(inspectArgs(args));
    blame("");
  };

  // What nobody catches ends the version: the cell prints it.
  for (const kind of ["error", "unhandledrejection"]) {
    addEventListener(kind, (event) => blame(blamed.get(event.error ?? event.reason) ?? id()));
  }
})
