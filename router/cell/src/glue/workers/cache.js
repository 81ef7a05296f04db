// @ts-check
// `caches.default`: one of Deno's caches, with Cloudflare's lifetimes. Its entries lie in DATA_DIR;
// an expired entry is deleted at the next lookup.

import { primordials } from "ext:core/mod.js";

const {
  DateNow,
  DateParse,
  Number,
  NumberIsNaN,
  RegExpPrototypeExec,
  SafeRegExp,
  StringPrototypeIncludes,
  StringPrototypeToLowerCase,
  TypeError,
} = primordials;
const { Headers, Request, Response } = globalThis;

const NAME = "cloudflare:default";
// The header with the time at which an entry expires, in milliseconds since 1970.
const EXPIRES = "x-switchyard-expires";

const SHARED_AGE = new SafeRegExp(/(?:^|[\s,])s-maxage="?(\d+)/);
const AGE = new SafeRegExp(/(?:^|[\s,])max-age="?(\d+)/);
const NOT_KEPT = new SafeRegExp(/(?:^|[\s,])(?:no-store|private(?!=)|no-cache)/);
const WITHOUT_COOKIE = "private=set-cookie";

// Returns the milliseconds for which a response may be kept.
function lifetime(headers) {
  const control = StringPrototypeToLowerCase(headers.get("cache-control") ?? "");
  if (RegExpPrototypeExec(NOT_KEPT, control) !== null) return 0;
  if (headers.has("set-cookie") && !StringPrototypeIncludes(control, WITHOUT_COOKIE)) return 0;
  const age = RegExpPrototypeExec(SHARED_AGE, control) ?? RegExpPrototypeExec(AGE, control);
  if (age !== null) return Number(age[1]) * 1000;
  const expires = DateParse(headers.get("expires") ?? "");
  return NumberIsNaN(expires) ? 0 : expires - DateNow();
}

class DefaultCache {
  #caches;
  #opened;
  constructor(caches) {
    this.#caches = caches;
  }

  #open() {
    return this.#opened ??= this.#caches.open(NAME);
  }

  async match(key, { ignoreMethod = false } = {}) {
    const request = new Request(key);
    if (request.method !== "GET" && !ignoreMethod) return undefined;
    const cache = await this.#open();
    const found = await cache.match(request.url);
    if (found === undefined) return undefined;
    if (Number(found.headers.get(EXPIRES)) <= DateNow()) {
      await found.body?.cancel();
      await cache.delete(request.url);
      return undefined;
    }
    const headers = new Headers(found.headers);
    headers.delete(EXPIRES);
    headers.set("cf-cache-status", "HIT");
    return new Response(found.body, {
      status: found.status,
      statusText: found.statusText,
      headers,
    });
  }

  async put(key, response) {
    const request = new Request(key);
    if (request.method !== "GET") throw new TypeError("Cannot cache response to non-GET request.");
    if (response.status === 206) {
      throw new TypeError("Cannot cache response to a range request (206 Partial Content).");
    }
    if (StringPrototypeIncludes(response.headers.get("vary") ?? "", "*")) {
      throw new TypeError("Cannot cache response with 'Vary: *' header.");
    }
    const time = lifetime(response.headers);
    if (time <= 0) return void await response.body?.cancel();
    const headers = new Headers(response.headers);
    headers.delete("set-cookie");
    headers.set(EXPIRES, `${DateNow() + time}`);
    const cache = await this.#open();
    const { body, status, statusText } = response;
    await cache.put(request.url, new Response(body, { status, statusText, headers }));
  }

  async delete(key, { ignoreMethod = false } = {}) {
    const request = new Request(key);
    if (request.method !== "GET" && !ignoreMethod) return false;
    const cache = await this.#open();
    return await cache.delete(request.url);
  }
}

export function defaultCache() {
  return new DefaultCache(globalThis.caches);
}
