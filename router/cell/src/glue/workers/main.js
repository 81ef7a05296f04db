// @ts-check
// The handlers of a Cloudflare Worker, served by Deno's server: the exports of its main module, or
// its listeners. Loaded for Workers only, before the project's code; changes of the project to
// JavaScript's own classes do not affect this module.

import { primordials } from "ext:core/mod.js";
import { waitUntil } from "ext:switchyard/background.js";
import { Assets } from "ext:switchyard/workers/assets.js";
import { isUpgrade, upgrade } from "ext:switchyard/workers/websocket.js";

const {
  ArrayPrototypeFind,
  ArrayPrototypePush,
  ArrayPrototypeSome,
  DateNow,
  Error,
  JSONParse,
  MathFloor,
  ObjectAssign,
  ObjectDefineProperty,
  ObjectEntries,
  ObjectPrototypeIsPrototypeOf,
  PromisePrototype,
  PromisePrototypeThen,
  ReflectApply,
  SafeArrayIterator,
  SafeMap,
  SafeWeakSet,
  StringPrototypeSplit,
  TypeError,
} = primordials;
const { Deno, Event } = globalThis;
const { warn } = console;
const setVariable = Deno.env.set;

// Keys that one rate limit distinguishes in a period; further keys are counted as one.
const MAX_KEYS = 10_000;

// Handlers besides `fetch`: a module with one of them is a Worker.
const OTHER_HANDLERS = ["scheduled", "queue", "email", "tail", "trace", "test", "alarm"];

// The bindings of the Worker. `start` fills it.
/** @type {Record<string, any>} */
export const env = {};

// The settings that `start` was called with.
let settings;

class ExecutionContext {
  props = {};
  waitUntil(promise) {
    waitUntil(promise);
  }
  // Does nothing: there is no origin behind a Worker that could answer instead.
  passThroughOnException() {}
}

export class WorkerEntrypoint {
  constructor(ctx, env) {
    this.ctx = ctx;
    this.env = env;
  }
}

class ExtendableEvent extends Event {
  waitUntil(promise) {
    waitUntil(promise);
  }
}

class FetchEvent extends ExtendableEvent {
  #request;
  #response;
  #isAnswered = false;
  constructor(type, { request }) {
    super(type);
    this.#request = request;
  }
  get request() {
    return this.#request;
  }
  respondWith(response) {
    if (this.#isAnswered) throw new TypeError("FetchEvent.respondWith() has already been called");
    this.#isAnswered = true;
    this.#response = response;
  }
  passThroughOnException() {}
  static answer(event) {
    return event.#isAnswered ? { response: event.#response } : undefined;
  }
}
const { answer } = FetchEvent;
delete /** @type {any} */ (FetchEvent).answer;

class ScheduledEvent extends ExtendableEvent {
  constructor(type, { scheduledTime, cron }) {
    super(type);
    this.scheduledTime = scheduledTime;
    this.cron = cron;
  }
}

/** @type {Record<string, any>} */
const listeners = { __proto__: null, fetch: [], scheduled: [] };

function listen() {
  const { addEventListener } = globalThis;
  const listenTo = function (type, listener, ...rest) {
    const known = listeners[`${type}`];
    if (known === undefined) {
      return ReflectApply(addEventListener, this, [type, listener, ...new SafeArrayIterator(rest)]);
    }
    ArrayPrototypePush(known, listener);
  };
  ObjectDefineProperty(listenTo, "name", { __proto__: null, value: "addEventListener" });
  globalThis.addEventListener = listenTo;
  for (
    const [name, value] of new SafeArrayIterator(
      ObjectEntries({ ExtendableEvent, FetchEvent, ScheduledEvent, ExecutionContext }),
    )
  ) {
    ObjectDefineProperty(globalThis, name, {
      __proto__: null,
      value,
      writable: true,
      configurable: true,
    });
  }
}

function dispatch(request) {
  const event = new FetchEvent("fetch", { request });
  for (const listener of new SafeArrayIterator(listeners.fetch)) {
    if (typeof listener === "function") ReflectApply(listener, globalThis, [event]);
    else listener.handleEvent(event);
    const answered = answer(event);
    if (answered !== undefined) return answered.response;
  }
  throw new Error('No listener of "fetch" has called event.respondWith()');
}

// Handlers of `cloudflare:node` for servers of node:http, which are served already.
const servedByNode = new SafeWeakSet();

export function markServedByNode(handler) {
  servedByNode.add(handler);
  return handler;
}

// Returns the function that answers requests for a main module's default export, or undefined if
// there is none.
function handlerOf(exported) {
  const { prototype } = typeof exported === "function" ? exported : {};
  if (typeof prototype?.fetch === "function") {
    return (request, env, ctx) => new exported(ctx, env).fetch(request);
  }
  if (typeof exported?.fetch === "function") {
    return (request, env, ctx) => exported.fetch(request, env, ctx);
  }
  if (listeners.fetch.length > 0) return dispatch;
  const isWorker = ArrayPrototypeSome(
    OTHER_HANDLERS,
    (name) => typeof exported?.[name] === "function" || typeof prototype?.[name] === "function",
  );
  if (isWorker || listeners.scheduled.length > 0) {
    return () => {
      throw new Error("Handler does not export a fetch() function.");
    };
  }
}

function dispatchScheduled(controller, _env, ctx) {
  const event = new ScheduledEvent("scheduled", controller);
  event.waitUntil = (promise) => ctx.waitUntil(promise);
  for (const listener of new SafeArrayIterator(listeners.scheduled)) {
    if (typeof listener === "function") ReflectApply(listener, globalThis, [event]);
    else listener.handleEvent(event);
  }
}

// Returns the function that is called at the times of cron triggers, or undefined if there is none.
function scheduledOf(exported) {
  const { prototype } = typeof exported === "function" ? exported : {};
  if (typeof prototype?.scheduled === "function") {
    return (controller, env, ctx) => new exported(ctx, env).scheduled(controller);
  }
  if (typeof exported?.scheduled === "function") {
    return (controller, env, ctx) => exported.scheduled(controller, env, ctx);
  }
  if (listeners.scheduled.length > 0) return dispatchScheduled;
}

// Returns the exports that `serveDefault` of servers.js serves.
function adapt(main) {
  let exported = main.default;
  // A module that was compiled to CommonJS.
  if (exported?.__esModule && exported.default !== undefined) exported = exported.default;
  if (typeof exported === "object" && exported !== null && servedByNode.has(exported)) return {};
  const onTime = scheduledOf(exported);
  warnOfCrons(onTime);
  const handler = handlerOf(exported);
  if (handler === undefined) return main;
  const fetch = (request, _info) => {
    const finish = (response) => isUpgrade(response) ? upgrade(request, response) : response;
    const response = handler(request, env, new ExecutionContext());
    return ObjectPrototypeIsPrototypeOf(PromisePrototype, response)
      ? PromisePrototypeThen(response, finish)
      : finish(response);
  };
  const scheduled = onTime && ((controller, _env, ctx) => onTime(controller, env, ctx));
  return { __proto__: null, default: { fetch, scheduled } };
}

function warnOfCrons(onTime) {
  const { crons, file } = settings;
  if (crons.length === 0 || onTime !== undefined) return;
  const shown = crons.join(", ");
  warn(`${file} has cron triggers (${shown}), but the Worker has no scheduled() handler`);
}

class RateLimit {
  #limit;
  #period;
  #counts = new SafeMap();
  #window = 0;
  constructor({ limit, period }) {
    this.#limit = limit;
    this.#period = period * 1000;
  }
  // deno-lint-ignore require-await -- Callers of Cloudflare's limit get a promise.
  async limit({ key }) {
    const window = MathFloor(DateNow() / this.#period);
    if (window !== this.#window) {
      this.#window = window;
      this.#counts = new SafeMap();
    }
    const counts = this.#counts;
    const counted = counts.has(`${key}`) || counts.size < MAX_KEYS ? `k${key}` : "others";
    const count = (counts.get(counted) ?? 0) + 1;
    counts.set(counted, count);
    return { success: count <= this.#limit };
  }
}

function fill(
  { vars, values, secrets, assets, version_metadata, rate_limits, version, nodeCompat },
) {
  // The operator's values override the project's.
  ObjectAssign(env, vars, values);
  if (version_metadata !== null) {
    env[version_metadata] = { id: version, tag: "", timestamp: new Date(DateNow()).toISOString() };
  }
  if (assets !== null) env[assets] = new Assets();
  for (const limit of new SafeArrayIterator(rate_limits)) env[limit.name] = new RateLimit(limit);
  const missing = ArrayPrototypeFind(secrets, (name) => env[name] === undefined);
  if (missing !== undefined) {
    warn(`The secret ${missing} is missing: set it in "env" of the policy`);
  }
  if (!nodeCompat) return;
  for (const [name, value] of new SafeArrayIterator(ObjectEntries(vars))) {
    if (name in values) continue;
    try {
      setVariable(name, typeof value === "string" ? value : JSON.stringify(value));
    } catch {
      // The policy does not allow the project to set the variable.
    }
  }
}

// Makes the bindings global, as in the service-worker syntax.
function defineBindings() {
  for (const [name, value] of new SafeArrayIterator(ObjectEntries(env))) {
    ObjectDefineProperty(globalThis, name, {
      __proto__: null,
      value,
      writable: true,
      configurable: true,
    });
  }
}

// Defines the names of wrangler's `define` as globals. Its bundler replaces them in the code.
function define(expressions, file) {
  for (const [name, expression] of new SafeArrayIterator(ObjectEntries(expressions))) {
    try {
      const path = StringPrototypeSplit(name, ".");
      let holder = globalThis;
      for (let at = 0; at < path.length - 1; at++) holder = holder[path[at]] ??= {};
      holder[path[path.length - 1]] = valueOf(expression);
    } catch (error) {
      const { message } = /** @type {Error} */ (error);
      throw new TypeError(
        `"define.${name}" in ${file} is invalid: ${message}`,
      );
    }
  }
}

function valueOf(expression) {
  try {
    return JSONParse(expression);
  } catch {
    // A name, or a string in other quotes.
    return (0, eval)(`(${expression})`);
  }
}

// Called with the Worker's settings as JSON. Returns the function that turns a main module's
// exports into those that are served.
export default function start(json) {
  settings = JSONParse(json);
  fill(settings);
  listen();
  if (settings.isServiceWorker) defineBindings();
  define(settings.define, settings.file);
  return adapt;
}
