// @ts-check
// Replaces Deno's `address_override.js`, which lets servers of node:http, node:https and node:http2
// listen elsewhere than they ask for. Here the server that is served is a server of node:net on the
// version's socket, so that it has all features of Node's own sockets. Its clients have the address
// that the router names, and the port that the server asked for. All requests come in HTTP/1.1
// without TLS. Changes of the project to the prototypes of JavaScript's own classes do not affect
// this module.

import { core, internals, primordials } from "ext:core/mod.js";
// Loads the modules that the script of node:net needs, before the parts below; node:net in turn
// loads this module.
import "node:net";
import {
  addressOf,
  parseListenArguments,
  parseTcpArguments,
} from "ext:switchyard/node_servers/address.js";
import { acceptConnections, guardCall } from "ext:switchyard/node_servers/connection.js";
import { acceptHttp2, acceptSecureHttp2 } from "ext:switchyard/node_servers/http2.js";

const { ArrayPrototypeFindLast, ReflectApply, SafeArrayIterator, SafeWeakMap } = primordials;
const net = core.loadExtScript("ext:deno_node/net.ts").default;
const loadHttp = core.createLazyLoader("node:http");

export const SERVER_KIND_NODE_HTTP = 2;
export const SERVER_KIND_NODE_HTTP2 = 3;

// Servers that speak HTTP and are about to listen, with their listener for connections.
const httpServers = new SafeWeakMap();

// Makes Deno call `startOverrideListener` and then the `listen` of node:net for each server.
export function applyAddressOverride() {
  return { mode: "duplicate" };
}

export function startOverrideListener(server, _address, onConnection, isHttp2 = false) {
  const toSession = (socket) => ReflectApply(onConnection, server, [socket]);
  httpServers.set(server, isHttp2 ? acceptHttp2(server, "http", toSession) : onConnection);
}

export function notifyAddressOverrideServing() {}

const { listen } = net.Server.prototype;
net.Server.prototype.listen = function (...args) {
  const onConnection = httpServers.get(this) ?? acceptSecureHttp2(this);
  // node:net itself reports the error if a server listens twice.
  if (this.listening) return ReflectApply(listen, this, args);
  const callback = ArrayPrototypeFindLast(args, (value) => typeof value === "function");
  if (onConnection === undefined) {
    const tcp = parseTcpArguments(args[0], args[1]);
    return tcp === undefined ? ReflectApply(listen, this, args) : ignoreTcp(this, tcp, callback);
  }
  httpServers.delete(this);
  const requested = parseListenArguments(args[0], args[1]);
  this.address = () => this.listening ? addressOf(requested) : null;
  const listenAt = (path, callback) => {
    acceptConnections(this, onConnection, requested);
    const { begin, NODE } = internals.servers;
    this.once("listening", () => begin(NODE, listenForProbe));
    const options = { path, signal: requested.signal, backlog: requested.backlog };
    ReflectApply(listen, this, [options, callback]);
    internals.servers.keep(this);
    if (this._handle) guardCall(this._handle, "onconnection");
  };
  const take = (path) => this.listening && listenQuietly(this, () => listenAt(path));
  const drop = () => leave(this, requested);
  const { claim, NODE: kind } = internals.servers;
  const name = requested.path ?? `port ${requested.port}`;
  const path = claim({ kind, name, port: requested.chosenPort, take, drop });
  if (path === undefined) return listenNowhere(this, callback);
  listenAt(path, callback);
  return this;
};

// Makes a server that listens only seem to listen. Clients with a connection have to make another.
function leave(server, requested) {
  const handle = server._handle;
  if (!handle) return; // Closed, while another isolate's server was served.
  server._handle = nowhere();
  handle.close();
  requested.isLeft = true;
  server.closeIdleConnections?.();
}

// Makes a server listen that has only seemed to. Its listeners have been notified before.
function listenQuietly(server, listenAt) {
  const notified = server.rawListeners("listening");
  server.removeAllListeners("listening");
  server._handle = null;
  listenAt();
  server.once("listening", () => {
    for (const listener of new SafeArrayIterator(notified)) server.on("listening", listener);
  });
  return true;
}

// Answers the probe as a server of the project's would: with a header and a body.
function answerProbe(request, response) {
  response.setHeader("content-type", "text/plain");
  response.end(request.method);
}

function listenForProbe(path) {
  const server = loadHttp().createServer(answerProbe);
  // If it cannot listen, the probe is not answered.
  server.on("error", () => {});
  ReflectApply(listen, server, [{ __proto__: null, path }]);
  server.unref();
}

// Returns a handle of a server that listens nowhere.
function nowhere() {
  return { close() {}, ref() {}, unref() {} };
}

// Makes a server only seem to listen.
function listenNowhere(server, callback) {
  if (callback !== undefined) server.once("listening", callback);
  const handle = server._handle = nowhere();
  queueMicrotask(() => server._handle === handle && server.emit("listening"));
  return server;
}

// Makes a TCP server only seem to listen, so that programs that look for a free port go on.
function ignoreTcp(server, requested, callback) {
  const { signal, port } = requested;
  server.address = () => server.listening ? addressOf(requested) : null;
  if (signal?.aborted) queueMicrotask(() => server.close());
  else signal?.addEventListener("abort", () => server.close(), { once: true });
  internals.servers.warnOfTcp(port);
  return listenNowhere(server, callback);
}
