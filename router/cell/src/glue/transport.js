// @ts-check
// Gives requests that come as frames to the handler of a server of Deno's, and its responses to the
// cell: what `ext:deno_http/00_serve.ts` does for HTTP/1.1. A handler sees no difference. Loaded in
// each isolate before the project's code, so that changes of the project to JavaScript's own
// classes do not affect this module.

import { core, internals, primordials } from "ext:core/mod.js";
import { InnerRequest, ServeHandlerInfo, useNative } from "ext:switchyard/transport/request.js";

const {
  ObjectPrototypeIsPrototypeOf,
  Promise,
  PromisePrototype,
  PromisePrototypeThen,
  PromiseResolve,
  TypedArrayPrototypeGetSymbolToStringTag,
  TypeError,
  Uint8Array,
} = primordials;
const {
  dropServeNativeResponse,
  getInnerResponse,
  Response,
  responseBodyUsed,
  ResponsePrototype,
  serveFastBodyKey,
  serveFastConsumedKey,
  serveFastContentTypeKey,
  serveFastHeaderKindKey,
  serveFastStatusKey,
  SERVE_FAST_HEADER_DEFAULT_TEXT,
  serveNativeResponseKey,
  toInnerResponse,
  wireHeaderList,
} = core.loadExtScript("ext:deno_fetch/23_response.js");
const { cacheRequestHeaders, fromInnerRequest, requestHeadersExposed } = core.loadExtScript(
  "ext:deno_fetch/23_request.js",
);
const { getReadableStreamResourceBacking, ReadableStreamPrototype, resourceForReadableStream } =
  core.loadExtScript("ext:deno_web/06_streams.js");
const { otelState } = core.loadExtScript("ext:deno_telemetry/telemetry.ts");

const TEXT = "text/plain;charset=UTF-8";
// "Internal Server Error"
// deno-fmt-ignore
const INTERNAL_SERVER_ERROR = new Uint8Array([
  73, 110, 116, 101, 114, 110, 97, 108, 32, 83, 101, 114, 118, 101, 114, 32, 69, 114, 114, 111, 114,
]);

// Functions of the cell.
/** @type {Record<string, any>} */
let native;

// Milliseconds of a timer that never ends.
const LONG = 2 ** 31 - 1;
let held = 0, timer;

// Keeps the event loop alive until `release` is called as often.
function hold() {
  held += 1;
  if (held === 1) timer = core.createSystemTimer(() => {}, LONG, true);
}

function release() {
  held -= 1;
  if (held === 0) core.cancelTimer(timer);
}

function internalServerError() {
  return new Response(INTERNAL_SERVER_ERROR, { status: 500 });
}

function logError(error) {
  internals.log("error", error);
  return internalServerError();
}

function logSecondError(error) {
  internals.log("error", "Exception in onError while handling exception", error);
}

// Reports the error of a response's body, whose head has left already.
function reportBodyError(onError, error) {
  let result;
  try {
    result = onError(error);
  } catch (error) {
    logSecondError(error);
    return;
  }
  if (ObjectPrototypeIsPrototypeOf(PromisePrototype, result)) {
    PromisePrototypeThen(result, undefined, logSecondError);
  }
}

// Throws as Deno's server does for anything that is not a response which can be sent.
function check(response) {
  if (!ObjectPrototypeIsPrototypeOf(ResponsePrototype, response)) {
    throw new TypeError(
      "Return value from serve handler must be a response or a promise resolving to a response",
    );
  }
  const inner = getInnerResponse(response);
  if (inner === undefined) {
    throw new TypeError(
      "Return value from serve handler must be a Response constructed via the Response constructor in this realm",
    );
  }
  if (inner.type === "error") {
    throw new TypeError(
      "Return value from serve handler must not be an error response (like Response.error())",
    );
  }
  if (responseBodyUsed(response)) {
    throw new TypeError(
      "The body of the Response returned from the serve handler has already been consumed",
    );
  }
}

// Returns the function that is called with the id of each request.
function dispatcher(server, handler, onError) {
  const takesNothing = handler.length === 0;
  const reportError = (error) => reportBodyError(onError, error);

  const sendStream = (id, request, inner, headers, stream) => {
    const backing = getReadableStreamResourceBacking(stream);
    const rid = backing ? backing.rid : resourceForReadableStream(stream, undefined, reportError);
    const isClosed = backing ? backing.autoClose : true;
    hold();
    // However the body ends, `completed` is fulfilled, as it is for HTTP/1.1.
    const sent = () => {
      release();
      request?.close();
    };
    if (native.sendResource(id, inner.status, headers, rid, isClosed, sent)) return;
    // The resource was closed before the response was made.
    sent();
    native.send(id, 500, headers, null);
  };

  const send = (id, request, response) => {
    check(response);
    const exposed = request?.request;
    if (exposed !== undefined && requestHeadersExposed(exposed)) cacheRequestHeaders(exposed);
    if (server.isClosed) {
      request?.close();
      native.send(id, 503, undefined, null);
      return;
    }
    const status = response[serveFastStatusKey];
    const fastBody = response[serveFastBodyKey];
    if (status !== 0 && fastBody !== null) {
      request?.close();
      response[serveFastConsumedKey] = true;
      const isText = response[serveFastHeaderKindKey] === SERVE_FAST_HEADER_DEFAULT_TEXT;
      const type = isText ? TEXT : response[serveFastContentTypeKey];
      native.send(id, status, type, fastBody);
      return;
    }
    if (response[serveNativeResponseKey] !== null) {
      dropServeNativeResponse(response);
      response[serveFastConsumedKey] = true;
    }
    const inner = toInnerResponse(response);
    const headers = wireHeaderList(inner);
    if (inner.body === null || inner.body === undefined) {
      request?.close();
      native.send(id, inner.status, headers, null);
      return;
    }
    const stream = inner.body.streamOrStatic;
    const { body } = stream;
    if (body !== undefined) stream.consumed = true;
    if (
      typeof body === "string" || TypedArrayPrototypeGetSymbolToStringTag(body) === "Uint8Array"
    ) {
      request?.close();
      native.send(id, inner.status, headers, body);
      return;
    }
    if (!ObjectPrototypeIsPrototypeOf(ReadableStreamPrototype, stream)) {
      request?.close();
      throw new TypeError("Invalid response");
    }
    sendStream(id, request, inner, headers, stream);
  };

  const failAgain = (id, request, error) => {
    logSecondError(error);
    send(id, request, internalServerError());
  };

  const fail = (id, request, error) => {
    let response;
    try {
      response = onError(error);
    } catch (error) {
      return failAgain(id, request, error);
    }
    try {
      sendOrWait(id, request, response, true);
    } catch (error) {
      failAgain(id, request, error);
    }
  };

  const sendOrWait = (id, request, response, isOfOnError) => {
    const isPromise = response !== null &&
      (typeof response === "object" || typeof response === "function") &&
      typeof response.then === "function";
    const exposed = request?.request;
    if (isPromise || (exposed !== undefined && requestHeadersExposed(exposed))) {
      const failed = (error) => (isOfOnError ? failAgain : fail)(id, request, error);
      PromisePrototypeThen(
        PromiseResolve(response),
        (response) => {
          try {
            send(id, request, response);
          } catch (error) {
            failed(error);
          }
        },
        failed,
      );
      return;
    }
    send(id, request, response);
  };

  return (id) => {
    let request, response;
    try {
      if (takesNothing) {
        response = handler();
      } else {
        request = new InnerRequest(server, id);
        const exposed = fromInnerRequest(request, "immutable");
        request.request = exposed;
        response = handler(exposed, new ServeHandlerInfo(request));
      }
    } catch (error) {
      return fail(id, request, error);
    }
    try {
      sendOrWait(id, request, response, false);
    } catch (error) {
      fail(id, request, error);
    }
  };
}

// The compressors of responses of Node's servers (`pieces.rs`).
export const compressors = {
  __proto__: null,
  codingOf: (type, accepted) => native.codingOf(type, accepted),
  open: (coding) => native.openCompressor(coding),
  run: (id, operation, piece) => native.compress(id, operation, piece),
  close: (id) => native.closeCompressor(id),
};

// Lets `server`, which Deno has made with these options, also get requests as frames on `path`.
// `compress`: responses to them are compressed, unless the options say no. Returns false if frames
// cannot express what the options ask for.
export function serveFrames(server, path, options, handler, compress) {
  const automatic = options.automaticCompression;
  const compressesLater = compress ? automatic : automatic ?? native.compressesByDefault();
  if (compressesLater || otelState.TRACING_ENABLED || otelState.METRICS_ENABLED) return false;
  const legacyAbort = native.hasLegacyAbort();
  const addr = { transport: "unix", path: options.path };
  const state = { __proto__: null, isClosed: false, legacyAbort, addr, hold, release };
  const marked = internals.markHandler?.(handler) ?? handler;
  const listener = native.listen(
    path,
    options.path,
    dispatcher(state, marked, options.onError ?? logError),
    compress && automatic !== false,
  );
  if (listener === undefined) return false;
  let ended;
  // Refuses further requests, and waits for those that are under way unless it is `forced`.
  const end = (isForced) => {
    if (ended === undefined || isForced) {
      ended = new Promise((resolve) => {
        hold();
        native.close(listener, isForced, () => {
          state.isClosed = true;
          release();
          resolve(undefined);
        });
      });
    }
    return ended;
  };
  options.signal?.addEventListener("abort", () => void end(true), { once: true });
  const { shutdown, finished } = server;
  const endBoth = async () => {
    const ended = end(false);
    await shutdown();
    await ended;
  };
  server.shutdown = function () {
    return endBoth();
  };
  server.finished = (async () => {
    try {
      await finished;
    } finally {
      await end(false);
    }
  })();
  return true;
}

// Called by the cell with its functions.
export default function install(functions) {
  native = functions;
  useNative(functions);
}
