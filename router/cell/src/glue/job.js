// @ts-check
// Calls the handler of a task with its context, and returns its result as JSON. Loaded for jobs
// only, before the project's code; changes of the project to JavaScript's own classes do not affect
// this module.

import { internals, primordials } from "ext:core/mod.js";
import {
  makeDicode,
  makeLog,
  makeOutput,
  makeParams,
  unavailable,
} from "ext:switchyard/job/interfaces.js";
import { messageOf, toJson } from "ext:switchyard/job/json.js";
import makeKv from "ext:switchyard/job/kv.js";
import { runStages, stagesOf } from "ext:switchyard/job/stages.js";
import makeSteps from "ext:switchyard/job/steps.js";

const {
  ArrayPrototypePush,
  ArrayPrototypeSplice,
  JSONStringify,
  JSONParse,
  ObjectDefineProperty,
  ObjectFreeze,
  PromisePrototypeThen,
  PromiseResolve,
  ReflectApply,
} = primordials;
const { AbortController, Deno, DOMException, EventTarget } = globalThis;
const { addEventListener } = EventTarget.prototype;
const readEnvironment = Deno.env.toObject;
// Set where spans are exported.
const inTrace = internals.inTrace ?? ((_traceparent, work) => work());

// The signal of the run, and whether somebody listens to it: a handler may wait for nothing else.
function makeSignal() {
  const controller = new AbortController();
  const { signal } = controller;
  let isHeard = false;
  let listener = null;
  const listen = function (...args) {
    isHeard = true;
    return ReflectApply(addEventListener, this, args);
  };
  ObjectDefineProperty(signal, "addEventListener", { __proto__: null, value: listen });
  ObjectDefineProperty(signal, "onabort", {
    __proto__: null,
    get: () => listener,
    set(value) {
      if (typeof listener === "function") signal.removeEventListener("abort", listener);
      listener = value;
      if (typeof value === "function") signal.addEventListener("abort", value);
    },
  });
  return { __proto__: null, controller, signal, isHeard: () => isHeard };
}

// Returns the function that calls `scheduled`, and waits for what it passes to `waitUntil`.
function scheduledOf(exported, { cron, at_ms }, context) {
  if (typeof exported?.scheduled !== "function") return;
  const work = [];
  const failures = [];
  const waitUntil = (promise) => {
    const noted = (error) => ArrayPrototypePush(failures, { __proto__: null, error });
    ArrayPrototypePush(work, PromisePrototypeThen(PromiseResolve(promise), undefined, noted));
  };
  return async () => {
    const controller = { type: "scheduled", scheduledTime: at_ms, cron, noRetry() {} };
    const ctx = { ...context, props: {}, waitUntil, passThroughOnException() {} };
    const result = await exported.scheduled(controller, readEnvironment(), ctx);
    while (work.length > 0) await ArrayPrototypeSplice(work, 0, 1)[0];
    if (failures.length > 0) throw failures[0].error;
    return result;
  };
}

// Returns the function that calls the handler of a task's module, or undefined if it has none.
function taskOf(exports, exported, context, data) {
  if (typeof exported === "function") return () => ReflectApply(exported, undefined, [context]);
  let stages = stagesOf(exported);
  if (stages.length === 0 && typeof exports.main === "function") {
    const { main } = exports;
    return () => ReflectApply(main, undefined, [context]);
  }
  if (stages.length === 0) stages = stagesOf(exports);
  if (stages.length > 0) return () => runStages(stages, context, data);
}

// Called with the call and its surroundings as JSON, and the function that sends questions of steps.
// Returns the functions that the cell calls.
export default function start(json, send) {
  const { call, project, data } = JSONParse(json);
  const run = ObjectFreeze(call.run);
  internals.markRun(run.id);
  const maxResult = call.max_result;
  const steps = makeSteps(call.journal, maxResult, send);
  const { controller, signal, isHeard } = makeSignal();
  const [output, outputOf] = makeOutput();
  const context = {
    run,
    params: makeParams(call.params),
    input: call.input,
    config: call.config,
    pipeline: call.pipeline,
    signal,
    step: steps.step,
    kv: makeKv(data, run.task),
    log: makeLog(console),
    output,
    dicode: makeDicode({ __proto__: null, project, run }, steps.step),
    mcp: unavailable(
      "ctx.mcp",
      "connect to a server of tools with a client, for instance npm:@modelcontextprotocol/sdk",
    ),
  };
  let handler;

  // Selects the handler among the exports of the entry. Returns false if it has none.
  const select = (exports) => {
    let exported = exports.default;
    // A module that was compiled to CommonJS.
    if (exported?.__esModule && exported.default !== undefined) exported = exported.default;
    handler = call.handler.kind === "scheduled"
      ? scheduledOf(exported, call.handler, context)
      : taskOf(exports, exported, context, data);
    return handler !== undefined;
  };

  // Returns a promise of the result: `{"result": …}`, or `{"invalid": "the reason"}`.
  const invoke = async () => {
    const returned = await inTrace(call.traceparent, handler);
    try {
      const value = returned === undefined ? outputOf() : returned;
      return `{"result":${toJson(value, "the result", maxResult)}}`;
    } catch (error) {
      return JSONStringify({ __proto__: null, invalid: messageOf(error) });
    }
  };

  const cancel = (reason) => {
    const error = new DOMException(`The run is ended: ${reason}`, "AbortError");
    steps.abort(error);
    controller.abort(error);
  };

  const isWaiting = () => steps.isWaiting() || (isHeard() && !signal.aborted);

  return [select, invoke, cancel, steps.reply, isWaiting];
}
