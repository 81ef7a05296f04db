// @ts-check
// Interfaces of Supabase's edge runtime besides Deno's own.

import { primordials } from "ext:core/mod.js";
import { waitUntil } from "ext:switchyard/background.js";

const { ObjectDefineProperty, ObjectFreeze, TypeError } = primordials;

const EdgeRuntime = ObjectFreeze({
  __proto__: null,
  waitUntil(promise) {
    waitUntil(promise);
  },
});

class Session {
  constructor() {
    throw new TypeError(
      "Supabase.ai is not available here: call a model's own HTTP interface with fetch",
    );
  }
}

const Supabase = ObjectFreeze({ __proto__: null, ai: ObjectFreeze({ __proto__: null, Session }) });

function define(name, value) {
  const descriptor = {
    __proto__: null,
    value,
    writable: true,
    configurable: true,
    enumerable: false,
  };
  ObjectDefineProperty(globalThis, name, descriptor);
}

export default function install() {
  define("EdgeRuntime", EdgeRuntime);
  define("Supabase", Supabase);
}
