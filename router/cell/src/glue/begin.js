// @ts-check
// Makes the isolate of a spare as if it was created for its version: its clock begins, and it has
// the features that deno.json names. Web workers need none of this, as they are created on demand.
// Loaded before the project's code, and called before it runs.

import { core, internals, primordials } from "ext:core/mod.js";
import { denoNsUnstableById, unstableIds } from "ext:runtime/90_deno_ns.js";
import { unstableForWindowOrWorkerGlobalScope } from "ext:runtime/98_global_scope_shared.js";

const {
  ArrayPrototypeIncludes,
  ObjectDefineProperties,
  ObjectDefineProperty,
  ObjectGetOwnPropertyDescriptors,
  ObjectGetPrototypeOf,
  ObjectHasOwn,
  ObjectPrototype,
  ObjectSetPrototypeOf,
  ReflectOwnKeys,
  SafeArrayIterator,
  TypeError,
} = primordials;
const { setTimeOrigin } = core.loadExtScript("ext:deno_web/15_performance.js");

// Defines the interfaces of an unstable feature.
function expose(id) {
  const own = denoNsUnstableById[id];
  if (own !== undefined) ObjectDefineProperties(globalThis.Deno, missingOf(own));
  const global = unstableForWindowOrWorkerGlobalScope[id];
  if (global !== undefined) core.defineGlobalProperties(globalThis, { ...global });
}

// Returns the descriptors of properties that `Deno` does not have yet. Existing ones stay, as the
// glue may have replaced them.
function missingOf(object) {
  /** @type {any} */
  const descriptors = { __proto__: null, ...ObjectGetOwnPropertyDescriptors(object) };
  for (const name of new SafeArrayIterator(ReflectOwnKeys(descriptors))) {
    if (ObjectHasOwn(globalThis.Deno, name)) delete descriptors[name];
  }
  return descriptors;
}

// Defines `__proto__` as in ECMA-262, B.2.2.1. Deno has replaced V8's own.
function restoreProto() {
  ObjectDefineProperty(ObjectPrototype, "__proto__", {
    __proto__: null,
    configurable: true,
    enumerable: false,
    get: function __proto__() {
      return ObjectGetPrototypeOf(this);
    },
    set: function __proto__(value) {
      if (this === undefined || this === null) {
        throw new TypeError("Object.prototype.__proto__ called on null or undefined");
      }
      const isObject = (it) => (typeof it === "object" && it !== null) || typeof it === "function";
      if (isObject(this) && (isObject(value) || value === null)) ObjectSetPrototypeOf(this, value);
    },
  });
}

// Signals of faults of the program, whose listeners are never called: Node accepts them, Deno
// throws.
const FAULTS = ["SIGILL", "SIGFPE", "SIGSEGV"];

function acceptListenersOfFaults() {
  const { addSignalListener } = globalThis.Deno;
  globalThis.Deno.addSignalListener = (signal, listener) => {
    if (!ArrayPrototypeIncludes(FAULTS, signal)) addSignalListener(signal, listener);
  };
}

// Sets the modules of NODE_DEBUG, whose output node:util's debuglog prints.
function debug(modules) {
  const { initializeDebugEnv } = core.loadExtScript("ext:deno_node/internal/util/debuglog.ts");
  initializeDebugEnv(modules);
  // For node:process, which is loaded later.
  if (internals.__nodeBootstrapArgs !== undefined) {
    internals.__nodeBootstrapArgs.nodeDebug = modules;
  }
}

export default function begin(features, nodeDebug) {
  setTimeOrigin();
  acceptListenersOfFaults();
  for (const id of new SafeArrayIterator(features)) expose(id);
  if (ArrayPrototypeIncludes(features, unstableIds.unsafeProto)) restoreProto();
  if (nodeDebug !== undefined) debug(nodeDebug);
}
