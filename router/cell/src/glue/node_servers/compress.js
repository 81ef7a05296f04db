// @ts-check
// Compressed responses of Node's servers ("compress": true in deno.json). All work is done within the
// project's calls of `write` and `end`, so that their results and callbacks mean what they do in Node.

import { core, internals, primordials } from "ext:core/mod.js";

const {
  ArrayIsArray,
  ArrayPrototypeIncludes,
  ArrayPrototypeJoin,
  ArrayPrototypePush,
  Number,
  ObjectDefineProperty,
  ObjectKeys,
  ReflectApply,
  SafeArrayIterator,
  String,
  StringPrototypeIncludes,
  StringPrototypeStartsWith,
  StringPrototypeToLowerCase,
  TypedArrayPrototypeGetByteLength,
  TypedArrayPrototypeGetSymbolToStringTag,
} = primordials;
const loadBuffer = core.createLazyLoader("node:buffer");
const loadHttpServer = core.createLazyLoader("node:_http_server");
const loadProcess = core.createLazyLoader("node:process");

// Bytes of a body from which on it is compressed, and statuses whose bodies are not, as for
// `Deno.serve` (`compress.rs`).
const LEAST = 1024;
const KEPT = [204, 205, 206, 304];

// The operations of a compressor on a piece of a body, as in `pieces.rs`.
const WRITE = 0;
const FLUSH = 1;
const END = 2;

// Makes a server compress the responses that are made from now on.
export function compressResponses(server) {
  const { kServerResponse } = loadHttpServer();
  const Response = server[kServerResponse];
  if (!internals.servers.compression.isOn() || Response === undefined) return;
  server[kServerResponse] = function (request, options) {
    const response = new Response(request, options);
    compressResponse(request, response);
    return response;
  };
}

// Replaces the methods of a response that make its head and its body.
function compressResponse(request, response) {
  const { write, end, writeHead } = response;
  const { open, run, close } = internals.servers.compression;
  let isChosen = false, compressor, isFlushing = false;
  const choose = (status, length) => {
    if (isChosen) return;
    isChosen = true;
    if (response.headersSent) return;
    const coding = chooseCoding(request, response, status, length);
    if (coding === undefined) return;
    compressor = open(coding);
    response.on("close", () => compressor === undefined || close(compressor));
  };
  const compress = (operation, chunk, encoding) =>
    run(compressor, operation, typeof chunk === "string" ? toBytes(chunk, encoding) : chunk);
  // The pieces of a stream leave as they come.
  const flush = () => {
    isFlushing = false;
    if (compressor === undefined || response.destroyed) return;
    const output = compress(FLUSH);
    if (output.length > 0) ReflectApply(write, response, [output]);
  };
  const replace = (name, value) =>
    ObjectDefineProperty(response, name, {
      __proto__: null,
      value,
      writable: true,
      configurable: true,
    });
  replace("writeHead", function (status, reason, headers) {
    if (isChosen || response.headersSent) {
      return ReflectApply(writeHead, this, [status, reason, headers]);
    }
    const hasReason = typeof reason === "string";
    setHeaders(response, hasReason ? headers : headers ?? reason);
    choose(status | 0);
    return ReflectApply(writeHead, this, hasReason ? [status, reason] : [status]);
  });
  replace("write", function (chunk, encoding, callback) {
    if (!isBody(chunk)) return ReflectApply(write, this, [chunk, encoding, callback]);
    choose(response.statusCode);
    if (compressor === undefined) return ReflectApply(write, this, [chunk, encoding, callback]);
    const done = typeof encoding === "function" ? encoding : callback;
    const output = compress(WRITE, chunk, encoding);
    if (!isFlushing) {
      isFlushing = true;
      loadProcess().default.nextTick(flush);
    }
    return ReflectApply(write, this, [output, done]);
  });
  replace("end", function (chunk, encoding, callback) {
    const isWhole = !isChosen && !response.headersSent;
    if (isWhole) choose(response.statusCode, isBody(chunk) ? lengthOf(chunk, encoding) : 0);
    if (
      compressor === undefined || !(isBody(chunk) || chunk == null || typeof chunk === "function")
    ) {
      return ReflectApply(end, this, [chunk, encoding, callback]);
    }
    const isFunction = (value) => typeof value === "function";
    const done = isFunction(chunk) ? chunk : isFunction(encoding) ? encoding : callback;
    const output = compress(END, isBody(chunk) ? chunk : undefined, encoding);
    compressor = undefined;
    if (isWhole) response.setHeader("content-length", output.length);
    return ReflectApply(end, this, [output, done]);
  });
}

// Returns the coding of a response, and changes its head accordingly. `length`: that of its body, if
// it is known. Undefined: the response is sent as it is.
function chooseCoding(request, response, status, length) {
  const text = (name) => {
    const value = response.getHeader(name);
    return ArrayIsArray(value) ? ArrayPrototypeJoin(value, ", ") : String(value ?? "");
  };
  const isHead = request.method === "HEAD";
  const named = response.getHeader("content-length");
  const known = named === undefined && !isHead ? length : Number(named);
  if (known < LEAST || status < 200 || ArrayPrototypeIncludes(KEPT, status)) return undefined;
  if (response.hasHeader("content-encoding") || response.hasHeader("content-range")) {
    return undefined;
  }
  const cacheControl = StringPrototypeToLowerCase(text("cache-control"));
  if (StringPrototypeIncludes(cacheControl, "no-transform")) return undefined;
  const accepted = request.headers["accept-encoding"] ?? "";
  const coding = internals.servers.compression.codingOf(text("content-type"), accepted);
  if (coding === undefined) return undefined;
  // Other clients get another form.
  const vary = text("vary");
  const others = StringPrototypeToLowerCase(vary);
  if (!StringPrototypeIncludes(others, "accept-encoding") && others !== "*") {
    response.setHeader("vary", vary === "" ? "accept-encoding" : `${vary}, accept-encoding`);
  }
  if (coding === "") return undefined;
  response.removeHeader("content-length");
  response.setHeader("content-encoding", coding);
  const etag = text("etag");
  if (etag !== "" && !StringPrototypeStartsWith(etag, "W/")) {
    response.setHeader("etag", `W/${etag}`);
  }
  // A head alone says what a whole response would.
  return isHead ? undefined : coding;
}

// Sets the headers that `writeHead` takes: an object, or names and values in an array.
function setHeaders(response, headers) {
  if (headers === undefined || headers === null) return;
  if (!ArrayIsArray(headers)) {
    for (const name of new SafeArrayIterator(ObjectKeys(headers))) {
      response.setHeader(name, headers[name]);
    }
    return;
  }
  /** @type {any[]} */
  const list = headers;
  const isNested = ArrayIsArray(list[0]);
  const names = [], values = [];
  for (let at = 0; at < list.length; at += isNested ? 1 : 2) {
    ArrayPrototypePush(names, isNested ? list[at][0] : list[at]);
    ArrayPrototypePush(values, isNested ? list[at][1] : list[at + 1]);
  }
  for (const name of new SafeArrayIterator(names)) response.removeHeader(name);
  for (let at = 0; at < names.length; at++) response.appendHeader(names[at], values[at]);
}

// Returns true for what Node takes as a piece of a body.
function isBody(chunk) {
  return typeof chunk === "string" ||
    TypedArrayPrototypeGetSymbolToStringTag(chunk) === "Uint8Array";
}

function lengthOf(chunk, encoding) {
  return typeof chunk === "string"
    ? loadBuffer().Buffer.byteLength(chunk, nameOf(encoding))
    : TypedArrayPrototypeGetByteLength(chunk);
}

function toBytes(text, encoding) {
  return loadBuffer().Buffer.from(text, nameOf(encoding));
}

function nameOf(encoding) {
  return typeof encoding === "string" ? encoding : undefined;
}
