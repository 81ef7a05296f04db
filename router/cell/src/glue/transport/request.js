// @ts-check
// A request that came as a frame, as Deno's `Request` reads it: the methods and their effects are
// those of `InnerRequest` in `ext:deno_http/00_serve.ts`. Each part of the request is read from the
// cell when it is first needed.

import { core, primordials } from "ext:core/mod.js";

const {
  ArrayPrototypePush,
  ObjectPrototypeIsPrototypeOf,
  Promise,
  TypedArrayPrototypeGetByteLength,
  TypeError,
} = primordials;
const { BadResourcePrototype } = core;
const { InnerBody } = core.loadExtScript("ext:deno_fetch/22_body.js");
const { abortRequest } = core.loadExtScript("ext:deno_fetch/23_request.js");
const { isReadableStreamDisturbed, ReadableStreamPrototype, readableStreamForRid } = core
  .loadExtScript("ext:deno_web/06_streams.js");
const { Deno } = globalThis;
const { Http } = Deno.errors;
const { warn } = console;

// Functions of the cell.
/** @type {Record<string, any>} */
let native;

let isWarned = false;

// Warns once, as Deno's own server does.
function warnOfLegacyAbort() {
  if (isWarned) return;
  isWarned = true;
  warn(
    "Deno.serve: request.signal aborts on successful responses (legacy behavior). To detect when a request has been fully delivered use the `completed` promise on the handler's info argument. Move cleanup to the handler's return path, or opt in to the new behavior with --unstable-no-legacy-abort. See https://docs.deno.com/go/unstable-no-legacy-abort",
  );
}

function failBody(controller, error) {
  const isGone = ObjectPrototypeIsPrototypeOf(BadResourcePrototype, error);
  controller.error(
    isGone
      ? new error.constructor("Cannot read request body as underlying resource unavailable")
      : error,
  );
}

export class InnerRequest {
  #server;
  // The id that the cell knows the request by, or null once it is closed.
  #id;
  #method;
  #url;
  #body;
  #bodyRid;
  #completed;
  #complete;
  #isSignalUsed = false;
  #isHeld = false;
  request;

  constructor(server, id) {
    this.#server = server;
    this.#id = id;
  }

  #open() {
    if (this.#id === null) throw new TypeError("Request closed");
    return this.#id;
  }

  close() {
    if (this.#bodyRid !== undefined) {
      // A reader that goes on after the response keeps the body.
      const stream = this.#body?.streamOrStatic;
      const isRead = ObjectPrototypeIsPrototypeOf(ReadableStreamPrototype, stream) &&
        (stream.locked || isReadableStreamDisturbed(stream));
      if (!isRead) core.tryClose(this.#bodyRid);
      this.#bodyRid = undefined;
    }
    const { legacyAbort } = this.#server;
    this.#complete?.();
    if (legacyAbort) {
      if (this.#isSignalUsed) warnOfLegacyAbort();
      abortRequest(this.request);
    }
    this.#id = null;
    this.#release();
  }

  _throwIfUpgraded() {}

  // Requests that can be upgraded do not come as frames.
  _wantsUpgrade() {
    if (this.#id === null) throw new Http("Already closed");
    throw new Http("HTTP upgrade is not available for this request");
  }

  url() {
    return this.#url ??= native.url(this.#open());
  }

  get method() {
    return this.#method ??= native.method(this.#open());
  }

  get completed() {
    return this.#completed ??= new Promise((resolve) => this.#complete = resolve);
  }

  get remoteAddr() {
    const address = native.remoteAddress(this.#open());
    if (address === undefined) return { ...this.#server.addr };
    return { transport: "tcp", hostname: address[0], port: address[1] };
  }

  get body() {
    const id = this.#open();
    if (this.#body !== undefined) return this.#body;
    if (this.#hasNoBody()) return this.#body = null;
    const whole = native.takeBody(id);
    if (whole !== null) {
      this.#body = new InnerBody({ body: whole, consumed: false });
      if (this.header("content-length") !== null) {
        this.#body.length = TypedArrayPrototypeGetByteLength(whole);
      }
      return this.#body;
    }
    this.#bodyRid = native.openBody(id);
    return this.#body = new InnerBody(
      readableStreamForRid(this.#bodyRid, true, undefined, failBody),
    );
  }

  // Returns true for methods whose requests have no body in `Request`, whatever the client sends.
  #hasNoBody() {
    const method = this.method;
    return method === "GET" || method === "HEAD" || method === "CONNECT";
  }

  get headerList() {
    const flat = native.headers(this.#open());
    const headers = [];
    for (let at = 0; at < flat.length; at += 2) {
      ArrayPrototypePush(headers, [flat[at], flat[at + 1]]);
    }
    return headers;
  }

  header(name) {
    return native.header(this.#open(), name);
  }

  // Returns the text of a body that has come as a whole, or null.
  consumeTextBody() {
    if (this.#id === null || this.#body !== undefined) return null;
    if (this.#hasNoBody()) {
      this.#body = null;
      return "";
    }
    const text = native.takeText(this.#id);
    if (text === null) return null;
    this.#body = new InnerBody({ body: text, consumed: true });
    return text;
  }

  onCancel(callback) {
    this.#isSignalUsed = true;
    if (this.#id === null) {
      if (this.#server.legacyAbort) callback();
      return;
    }
    if (!this.#isHeld) {
      this.#isHeld = true;
      this.#server.hold();
    }
    native.onCancel(this.#id, () => {
      this.#release();
      callback();
    });
  }

  // Lets the event loop end although nobody has answered.
  #release() {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    this.#server.release();
  }
}

export class ServeHandlerInfo {
  #request;
  constructor(request) {
    this.#request = request;
  }
  get remoteAddr() {
    return this.#request.remoteAddr;
  }
  get completed() {
    return this.#request.completed;
  }
}

// Called by `transport.js`.
export function useNative(functions) {
  native = functions;
}
