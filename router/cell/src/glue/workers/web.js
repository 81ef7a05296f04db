// @ts-check
// Interfaces of Cloudflare's runtime that Deno does not have, each made on its first use.

import { core, primordials } from "ext:core/mod.js";
import { WebSocketPair } from "ext:switchyard/workers/websocket.js";
import { defaultCache } from "ext:switchyard/workers/cache.js";

const {
  ArrayBufferIsView,
  Error,
  Number,
  ObjectDefineProperty,
  ObjectGetOwnPropertyDescriptor,
  Promise,
  ReflectApply,
  StringPrototypeReplaceAll,
  StringPrototypeToLowerCase,
  TypeError,
  Uint8Array,
  ArrayBufferPrototype,
  ObjectPrototypeIsPrototypeOf,
} = primordials;
const loadCrypto = core.createLazyLoader("node:crypto");

// Defines a property with a value that is made when it is first read.
function lazily(object, name, make) {
  const put = (value) =>
    ObjectDefineProperty(object, name, {
      __proto__: null,
      value,
      writable: true,
      configurable: true,
    });
  ObjectDefineProperty(object, name, {
    __proto__: null,
    get() {
      const value = make();
      put(value);
      return value;
    },
    set: put,
    configurable: true,
  });
}

// Extends a global object when it is first read, which is when Deno loads most of them.
function extend(name, add) {
  const descriptor = ObjectGetOwnPropertyDescriptor(globalThis, name);
  if (descriptor?.get === undefined) {
    if (descriptor?.value !== undefined) add(descriptor.value);
    return;
  }
  const { get } = descriptor;
  let isDone = false;
  ObjectDefineProperty(globalThis, name, {
    ...descriptor,
    __proto__: null,
    get() {
      const value = ReflectApply(get, globalThis, []);
      if (!isDone) {
        isDone = true;
        add(value);
      }
      return value;
    },
  });
}

function bytesOf(chunk) {
  if (typeof chunk === "string") return new TextEncoder().encode(chunk);
  if (ArrayBufferIsView(chunk)) {
    return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  }
  if (ObjectPrototypeIsPrototypeOf(ArrayBufferPrototype, chunk)) return new Uint8Array(chunk);
  throw new TypeError(
    "This TransformStream is being used as a byte stream, but received an object of another type",
  );
}

function identityTransformStream() {
  return class IdentityTransformStream extends TransformStream {
    constructor(strategy) {
      super({ transform: (chunk, controller) => controller.enqueue(bytesOf(chunk)) }, strategy);
    }
  };
}

function fixedLengthStream() {
  return class FixedLengthStream extends TransformStream {
    constructor(length, strategy) {
      let left = Number(length);
      super({
        transform(chunk, controller) {
          const bytes = bytesOf(chunk);
          left -= bytes.byteLength;
          if (left < 0) {
            throw new TypeError("Attempt to write too many bytes through a FixedLengthStream.");
          }
          controller.enqueue(bytes);
        },
        flush() {
          if (left > 0) {
            throw new TypeError("FixedLengthStream did not see all expected bytes before close().");
          }
        },
      }, strategy);
    }
  };
}

function digestStream() {
  return class DigestStream extends WritableStream {
    constructor(algorithm) {
      const name = StringPrototypeToLowerCase(
        typeof algorithm === "string" ? algorithm : algorithm.name,
      );
      const hash = loadCrypto().createHash(StringPrototypeReplaceAll(name, "sha-", "sha"));
      let resolve, reject;
      const digest = new Promise((resolved, rejected) => {
        resolve = resolved;
        reject = rejected;
      });
      super({
        write: (chunk) => void hash.update(bytesOf(chunk)),
        close: () => resolve(new Uint8Array(hash.digest()).buffer),
        abort: (reason) => reject(reason),
      });
      this.digest = digest;
    }
  };
}

function timingSafeEqual(one, other) {
  const [left, right] = [bytesOf(one), bytesOf(other)];
  if (left.byteLength !== right.byteLength) {
    throw new TypeError("Input buffers must have the same byte length");
  }
  let difference = 0;
  for (let at = 0; at < left.byteLength; at++) difference |= left[at] ^ right[at];
  return difference === 0;
}

function scheduler() {
  // Read late, as Deno loads them on their first use, which takes a while.
  const { setTimeout, clearTimeout } = globalThis;
  return {
    /**
     * @param {number} milliseconds
     * @param {{ signal?: AbortSignal }} [options]
     */
    wait(milliseconds, { signal } = {}) {
      return new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        const timer = setTimeout(resolve, milliseconds);
        signal?.addEventListener("abort", () => {
          clearTimeout(timer);
          reject(signal.reason);
        }, { once: true });
      });
    },
  };
}

class HTMLRewriter {
  constructor() {
    throw new Error(
      "HTMLRewriter is not part of Switchyard: use the package html-rewriter-wasm or " +
        "@worker-tools/html-rewriter",
    );
  }
}

// The properties of a request that only Cloudflare's network knows. An empty object, so that each
// property is undefined, as it is for a client that Cloudflare does not know.
const cf = { __proto__: null, get: () => ({}), configurable: true };

export default function install({ nodeCompat }) {
  extend(
    "navigator",
    (navigator) =>
      ObjectDefineProperty(navigator, "userAgent", {
        __proto__: null,
        value: "Cloudflare-Workers",
        configurable: true,
      }),
  );
  extend("caches", (caches) => lazily(caches, "default", defaultCache));
  extend("crypto", (crypto) => {
    lazily(crypto, "DigestStream", digestStream);
    lazily(crypto.subtle, "timingSafeEqual", () => timingSafeEqual);
  });
  ObjectDefineProperty(globalThis.Request.prototype, "cf", cf);
  lazily(globalThis, "IdentityTransformStream", identityTransformStream);
  lazily(globalThis, "FixedLengthStream", fixedLengthStream);
  lazily(globalThis, "WebSocketPair", WebSocketPair);
  lazily(globalThis, "scheduler", scheduler);
  lazily(globalThis, "HTMLRewriter", () => HTMLRewriter);
  lazily(globalThis, "Cloudflare", () => ({ compatibilityFlags: { nodejs_compat: nodeCompat } }));
}
