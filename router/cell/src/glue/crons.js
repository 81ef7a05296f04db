// @ts-check
// Handlers of `Deno.cron`: each call belongs to a run, which marks its output and is told of its
// end. Loaded before the project's code, after `requests.js`.

import { internals, primordials } from "ext:core/mod.js";

const { ObjectDefineProperty, ObjectGetOwnPropertyDescriptor, ReflectApply } = primordials;

// Called by the cell. `begin`: returns the id of the run that the cron of a name is called for.
// `end`: notes the end of that run.
export default function install(begin, end) {
  const { Deno } = globalThis;
  const { inside } = internals;
  // The getter loads the module of `Deno.cron`.
  /** @type {any} */
  const original = ObjectGetOwnPropertyDescriptor(Deno, "cron");
  let cron;

  const around = (name, handler) => {
    if (typeof handler !== "function") return handler;
    return async () => {
      const id = begin(name);
      let success = false;
      try {
        await inside({ __proto__: null, id }, handler);
        success = true;
      } finally {
        end(name, id, success);
      }
    };
  };

  const make = () => {
    const deno = ReflectApply(original.get, Deno, []);
    const marked = (name, schedule, first, second) =>
      typeof first === "function"
        ? deno(name, schedule, around(name, first), second)
        : deno(name, schedule, first, around(name, second));
    return ObjectDefineProperty(marked, "name", { __proto__: null, value: "cron" });
  };

  ObjectDefineProperty(Deno, "cron", {
    __proto__: null,
    configurable: true,
    enumerable: original.enumerable,
    get: () => cron ??= make(),
    set: (value) => cron = value,
  });

  // The exports of an entry that registers crons and serves nothing.
  return () => ({ __proto__: null, default: { fetch: answerNothing } });
}

function answerNothing() {
  const type = "urn:switchyard:problem:no-handler";
  const problem = { type, title: "No handler", status: 404, detail: DETAIL };
  const headers = { "content-type": "application/problem+json" };
  return globalThis.Response.json(problem, { status: 404, headers });
}

const DETAIL = "the project has crons and serves no requests: its entry has no handler";
