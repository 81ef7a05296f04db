// @ts-check
// The parts of a handler's context that other systems' tasks use: `params.get`, `output`, `dicode`,
// and objects that say what to use instead of them.

// deno-lint-ignore-file require-await -- Callers get promises, as from dicode's own.

import { primordials } from "ext:core/mod.js";

const {
  Error,
  ObjectAssign,
  ObjectCreate,
  ObjectHasOwn,
  Proxy,
  ReflectApply,
  StringPrototypeStartsWith,
  StringPrototypeSlice,
} = primordials;

// Returns an object whose functions, at any depth, throw an error with this advice.
export function unavailable(name, advice) {
  /** @type {any} */
  const handler = {
    __proto__: null,
    // `then` would make it a promise for those who await it.
    get: (_target, key) =>
      typeof key === "symbol" || key === "then" ? undefined : unavailable(`${name}.${key}`, advice),
    apply() {
      throw new Error(`${name}() is not available: ${advice}`);
    },
  };
  return new Proxy(function () {}, handler);
}

// Returns the parameters with the methods `get` and `all` behind them.
export function makeParams(values) {
  const methods = {
    __proto__: null,
    get: async (name) => ObjectHasOwn(values, name) ? values[name] : null,
    all: async () => ({ ...values }),
  };
  return ObjectAssign(ObjectCreate(methods), values);
}

// Returns `ctx.output` and a function that returns what it was given last.
export function makeOutput() {
  let last;
  const give = (value) => {
    last = { output: value };
    return last;
  };
  const output = () => {
    throw new Error(
      "ctx.output() takes no secrets: the operator's policy grants them to a project",
    );
  };
  ObjectAssign(output, {
    html: async (content, options) =>
      give({ contentType: "text/html", content: `${content}`, ...options }),
    text: async (content) => give({ contentType: "text/plain", content: `${content}` }),
    image: async (mime, content) =>
      give({ contentType: `${mime}`, content: `${content}`, encoding: "base64" }),
    file: async (name, content, mime = "application/octet-stream") =>
      give({ contentType: `${mime}`, content: `${content}`, name: `${name}` }),
  });
  return [output, () => last];
}

// Returns `ctx.dicode`.
export function makeDicode({ project, run }, step) {
  const own = `${project}:`;
  const nameOf = (task) =>
    StringPrototypeStartsWith(task, own) ? StringPrototypeSlice(task, own.length) : task;
  const other = (name, advice) => unavailable(`ctx.dicode.${name}`, advice);
  return {
    __proto__: null,
    task_id: run.task,
    run_id: run.id,
    run_task: (task, params) => {
      const name = nameOf(`${task}`);
      return ReflectApply(step, undefined, [name, name, params]);
    },
    list_tasks: other("list_tasks", "GET /tasks of the bridge lists them"),
    get_runs: other("get_runs", "GET /runs of the bridge lists them"),
    secrets_set: other("secrets_set", "the operator's policy grants secrets to a project"),
    secrets_delete: other("secrets_delete", "the operator's policy grants secrets to a project"),
    oauth: other("oauth", "tokens are granted as variables by the operator's policy"),
  };
}

// Returns `ctx.log`.
export function makeLog(console) {
  const { debug, error, info, log, warn } = console;
  return ObjectAssign((...texts) => log(...texts), { debug, error, info, log, warn });
}
