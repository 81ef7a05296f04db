// @ts-check
// Connections of a Node server that is served: the clients' addresses, and errors of listeners.

import { core, primordials } from "ext:core/mod.js";
import { localAddressOf } from "ext:switchyard/node_servers/address.js";
import { compressResponses } from "ext:switchyard/node_servers/compress.js";

const {
  ArrayPrototypeFindIndex,
  ArrayPrototypeIncludes,
  FunctionPrototypeCall,
  Number,
  ObjectDefineProperty,
  PromisePrototypeThen,
  PromiseResolve,
  ReflectApply,
  SafeArrayIterator,
  SafeWeakMap,
  SafeWeakSet,
  StringPrototypeEndsWith,
  StringPrototypeLastIndexOf,
  StringPrototypeSlice,
  StringPrototypeStartsWith,
  StringPrototypeToLowerCase,
} = primordials;
const net = core.loadExtScript("ext:deno_node/net.ts").default;
const { reportException } = core.loadExtScript("ext:deno_web/02_event.js");

// The header that carries a client's address, as for Deno's own server.
const CLIENT = "x-deno-client-address";

// The parser's callbacks through which a project's code may run, by their numbers in
// node:_http_common: for a piece of a body, at the end of a message, and after each piece of input.
const ON_BODY = 3;
const ON_MESSAGE_COMPLETE = 4;
const ON_EXECUTE = 5;

// The names of the listeners for connections that servers are made with.
const OWN = ["connectionListener", "tlsConnectionListener"];

export const REMOTE = ["remoteAddress", "remotePort", "remoteFamily"];
export const LOCAL = ["localAddress", "localPort", "localFamily"];

// The arguments of `listen` of each server that has listened.
const prepared = new SafeWeakMap();

// Parsers with guarded callbacks. A parser serves one connection after the other.
const guarded = new SafeWeakSet();

// Makes `onConnection` take the connections of a server, in place of the listener that it was made
// with, which may begin with TLS or HTTP/2. Takes effect once for each server, which may listen,
// close, and listen elsewhere.
export function acceptConnections(server, onConnection, requested) {
  const isNew = !prepared.has(server);
  prepared.set(server, requested);
  if (!isNew) return;
  compressResponses(server);
  const accept = (socket) => {
    // Makes Deno remove scheme and host from a target that is a whole URL.
    socket.isDenoServeAddressOverride = true;
    ReflectApply(onConnection, server, [socket]);
    describe(socket, prepared.get(server));
  };
  const listeners = server.rawListeners("connection");
  const own = ArrayPrototypeFindIndex(
    listeners,
    (listener) => listener === onConnection || ArrayPrototypeIncludes(OWN, listener.name),
  );
  server.removeAllListeners("connection");
  if (own === -1) server.on("connection", accept);
  else listeners[own] = accept;
  for (const listener of new SafeArrayIterator(listeners)) server.on("connection", listener);
}

// Defines the addresses of a connection, which has requests of many clients, one after the other.
function describe(socket, requested) {
  const { parser } = socket;
  if (!parser) return;
  /** @type {{ remoteAddress?: string, remotePort?: number, remoteFamily?: string }} */
  let client = {};
  const local = () => localAddressOf(requested, client.remoteFamily);
  const show = (name, get) =>
    ObjectDefineProperty(socket, name, { __proto__: null, get, configurable: true });
  for (const name of new SafeArrayIterator(REMOTE)) show(name, () => client[name]);
  for (const name of new SafeArrayIterator(LOCAL)) show(name, () => local()[name]);
  socket.address = () => {
    const { localAddress: address, localFamily: family, localPort: port } = local();
    return address === undefined ? {} : { address, family, port };
  };
  const { onIncoming } = parser;
  parser.onIncoming = (request, isKept) => {
    const headers = request.rawHeaders;
    client = takeClient(headers) ?? client;
    // Updates the number of headers.
    request._addHeaderLines(headers, headers.length);
    try {
      return onIncoming(request, isKept && !requested.isLeft);
    } catch (error) {
      raise(error);
      return 0;
    }
  };
  guard(parser);
}

function guard(parser) {
  if (!guarded.has(parser)) {
    guarded.add(parser);
    guardCall(parser, ON_BODY);
    guardCall(parser, ON_MESSAGE_COMPLETE);
  }
  guardCall(parser, ON_EXECUTE);
}

// Makes errors that a callback throws uncaught errors.
export function guardCall(target, name) {
  const call = target[name];
  target[name] = function (first, second) {
    try {
      return FunctionPrototypeCall(call, this, first, second);
    } catch (error) {
      raise(error);
    }
  };
}

// Raises an error that a listener throws as an uncaught error, as Node does. Deno's parser would
// take it for an invalid request. It is raised after the parser returns, which would write an
// answer.
function raise(error) {
  PromisePrototypeThen(PromiseResolve(), () => reportException(error));
}

// Removes the header with the client's address, which is private to the router and this module.
// Returns the address.
function takeClient(headers) {
  for (let at = 0; at < headers.length; at += 2) {
    if (StringPrototypeToLowerCase(headers[at]) !== CLIENT) continue;
    const address = headers[at + 1];
    // Not by `splice`, which reads the array's constructor.
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
