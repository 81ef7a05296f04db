// Stands in the place of Deno's `address_override.js`, which has servers of node:http, node:https
// and node:http2 listen elsewhere than they ask for. Here the first of them is a server of node:net
// on the version's socket, so that all that Node's own sockets have is there; and its requests come
// from whom the router says they come from. TLS is not spoken. What the project does to the
// prototypes of JavaScript's own classes does not change this.

import { core, internals, primordials } from "ext:core/mod.js";
import { op_http_notify_serving } from "ext:core/ops";
import net from "node:net";

const {
  ArrayPrototypeFindLast,
  ArrayPrototypeIncludes,
  Number,
  NumberIsNaN,
  ObjectDefineProperty,
  ReflectApply,
  SafeWeakMap,
  StringPrototypeEndsWith,
  StringPrototypeLastIndexOf,
  StringPrototypeSlice,
  StringPrototypeStartsWith,
  StringPrototypeToLowerCase,
} = primordials;
const loadHttp = core.createLazyLoader("node:http");

export const SERVER_KIND_NODE_HTTP = 2;
export const SERVER_KIND_NODE_HTTP2 = 3;

// Where Deno's own server takes a client's address from.
const CLIENT = "x-deno-client-address";

// Servers of the web that are about to listen, and how.
const web = new SafeWeakMap();

// Always both: `startOverrideListener`, then the `listen` of node:net.
export function applyAddressOverride() {
  return { mode: "duplicate" };
}

export function startOverrideListener(server, _address, onConnection, looksAtProtocol = false) {
  web.set(server, { onConnection, looksAtProtocol });
}

export function notifyAddressOverrideServing(kind = SERVER_KIND_NODE_HTTP) {
  op_http_notify_serving(kind);
}

const { listen } = net.Server.prototype;
net.Server.prototype.listen = function (...args) {
  const how = web.get(this);
  // Once it listens node:net itself says what is wrong with listening again.
  if (how === undefined || this.listening) return ReflectApply(listen, this, args);
  web.delete(this);
  const callback = ArrayPrototypeFindLast(args, (value) => typeof value === "function");
  const asked = askedFor(args[0], args[1]);
  const path = internals.servers?.claim(asked.path ?? `port ${asked.port}`);
  this.address = () => this.listening ? addressOf(asked) : null;
  if (path === undefined) return listenNowhere(this, callback);
  prepare(this, how);
  this.once("listening", () => notifyAddressOverrideServing());
  ReflectApply(listen, this, [{ path, signal: asked.signal, backlog: asked.backlog }, callback]);
  internals.servers.keep(this);
  internals.servers.answerProbe(listenForProbe);
  return this;
};

// As a server of the project's would: with a header and a body.
function answer(request, response) {
  response.setHeader("content-type", "text/plain");
  response.end(request.method);
}

function listenForProbe(path) {
  const server = loadHttp().createServer(answer);
  // Where it cannot listen the probe is not answered.
  server.on("error", () => {});
  ReflectApply(listen, server, [{ __proto__: null, path }]);
  server.unref();
}

// Of the forms that `listen` has: `(options)`, `(path)`, `(port, host)`, each with more behind.
function askedFor(first, second) {
  if (typeof first === "object" && first !== null) return { ...first, port: portOf(first.port) };
  if (typeof first === "string" && NumberIsNaN(Number(first))) return { path: first };
  return { port: portOf(first), host: typeof second === "string" ? second : undefined };
}

function portOf(port) {
  return Number(port) || internals.servers?.PORT;
}

function addressOf({ path, port, host }) {
  if (path !== undefined) return path;
  const address = host === undefined ? "::" : net.isIP(host) ? host : "127.0.0.1";
  return { address, family: net.isIPv6(address) ? "IPv6" : "IPv4", port };
}

function listenNowhere(server, callback) {
  if (callback !== undefined) server.once("listening", callback);
  server._handle = { close() {}, ref() {}, unref() {} };
  queueMicrotask(() => server.emit("listening"));
  return server;
}

function prepare(server, { onConnection, looksAtProtocol }) {
  if (!ArrayPrototypeIncludes(server.listeners("connection"), onConnection)) {
    // It would begin with TLS.
    server.removeAllListeners("connection");
    server.on("connection", onConnection);
  }
  if (looksAtProtocol) server.prependListener("connection", (socket) => socket.alpnProtocol = "http/1.1");
  server.on("connection", tellClient);
}

// A connection has requests of many clients, one after the other.
function tellClient(socket) {
  const { parser } = socket;
  if (!parser) return;
  let client = {};
  const tell = (name) =>
    ObjectDefineProperty(socket, name, { __proto__: null, get: () => client[name], configurable: true });
  tell("remoteAddress");
  tell("remotePort");
  tell("remoteFamily");
  const { onIncoming } = parser;
  parser.onIncoming = (request, isKept) => {
    const headers = request.rawHeaders;
    client = takeClient(headers) ?? client;
    // So that it knows how many are left.
    request._addHeaderLines(headers, headers.length);
    return onIncoming(request, isKept);
  };
}

// Takes the header out: it is between the router and this.
function takeClient(headers) {
  for (let at = 0; at < headers.length; at += 2) {
    if (StringPrototypeToLowerCase(headers[at]) !== CLIENT) continue;
    const address = headers[at + 1];
    // Not by `splice`, which asks the array for its constructor.
    for (let to = at; to + 2 < headers.length; to++) headers[to] = headers[to + 2];
    headers.length -= 2;
    const colon = StringPrototypeLastIndexOf(address, ":");
    const host = StringPrototypeSlice(address, 0, colon);
    const isBracketed = StringPrototypeStartsWith(host, "[") && StringPrototypeEndsWith(host, "]");
    const remoteAddress = isBracketed ? StringPrototypeSlice(host, 1, -1) : host;
    return {
      remoteAddress,
      remotePort: Number(StringPrototypeSlice(address, colon + 1)),
      remoteFamily: net.isIPv6(remoteAddress) ? "IPv6" : "IPv4",
    };
  }
}
