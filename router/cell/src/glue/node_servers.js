// Replaces Deno's `address_override.js`, which has servers of node:http, node:https and node:http2
// listen elsewhere than they ask for. Here the one that is served is a server of node:net on the
// version's socket, so that all that Node's own sockets have is there; its requests come from the
// address that the router names, and on the port that the server asked for. All are asked in
// HTTP/1.1 without TLS. What the project does to the prototypes of JavaScript's own classes does
// not change this.

import { core, internals, primordials } from "ext:core/mod.js";
// Loads the modules that the script of node:net needs, and is in turn loaded by it.
import "node:net";

const {
  ArrayPrototypeFindIndex,
  ArrayPrototypeFindLast,
  ArrayPrototypeIncludes,
  ArrayPrototypePop,
  ArrayPrototypePush,
  FunctionPrototypeCall,
  Number,
  NumberIsInteger,
  NumberIsNaN,
  ObjectDefineProperty,
  ObjectPrototypeIsPrototypeOf,
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
const loadHttp = core.createLazyLoader("node:http");
const loadHttpServer = core.createLazyLoader("node:_http_server");
const loadHttp2 = core.createLazyLoader("node:http2");
const loadProcess = core.createLazyLoader("node:process");
const loadStream = core.createLazyLoader("node:stream");
const loadTls = core.createLazyLoader("node:tls");

export const SERVER_KIND_NODE_HTTP = 2;
export const SERVER_KIND_NODE_HTTP2 = 3;

// The header from which Deno's own server takes a client's address.
const CLIENT = "x-deno-client-address";

// What a parser calls, by its number in node:_http_common, and where code of the project's can be
// on the way: for a piece of a body, at the end of a message, and after each piece of input.
const ON_BODY = 3;
const ON_MESSAGE_COMPLETE = 4;
const ON_EXECUTE = 5;

// HTTP/2's code for a stream that nobody wants any longer.
const CANCEL = 8;

// Sessions with servers of node:http2 that wait for a connection, by server, and how many there are
// at most: as many as a project has requests in flight by default.
const idle = new SafeWeakMap();
const MAX_IDLE = 100;

// Streams that a session may have cancelled: nghttp2 ends one with 1000 in a short time.
const MAX_CANCELLED = 500;

// The ports that systems choose from for servers that leave it to them (RFC 6335).
const FIRST_FREE_PORT = 49152;
const LAST_PORT = 65535;
let lastFreePort = LAST_PORT;

// The listeners for connections that servers are made with.
const OWN = ["connectionListener", "tlsConnectionListener"];

const REMOTE = ["remoteAddress", "remotePort", "remoteFamily"];
const LOCAL = ["localAddress", "localPort", "localFamily"];

// Servers that speak HTTP and are about to listen, with their listener for connections.
const web = new SafeWeakMap();

// What servers that have listened have asked for.
const prepared = new SafeWeakMap();

// Parsers whose calls are guarded. They are used for one connection after the other.
const guarded = new SafeWeakSet();

// Always both: `startOverrideListener`, then the `listen` of node:net.
export function applyAddressOverride() {
  return { mode: "duplicate" };
}

export function startOverrideListener(server, _address, onConnection, isHttp2 = false) {
  const toSession = (socket) => ReflectApply(onConnection, server, [socket]);
  web.set(server, isHttp2 ? http2Of(server, "http", toSession) : onConnection);
}

export function notifyAddressOverrideServing() {}

const { listen } = net.Server.prototype;
net.Server.prototype.listen = function (...args) {
  const onConnection = web.get(this) ?? http2OfSecure(this);
  // Once it listens node:net itself says what is wrong with listening again.
  if (this.listening) return ReflectApply(listen, this, args);
  const callback = ArrayPrototypeFindLast(args, (value) => typeof value === "function");
  if (onConnection === undefined) {
    const tcp = tcpOf(args[0], args[1]);
    return tcp === undefined ? ReflectApply(listen, this, args) : ignoreTcp(this, tcp, callback);
  }
  web.delete(this);
  const asked = askedFor(args[0], args[1]);
  this.address = () => this.listening ? addressOf(asked) : null;
  const listenAt = (path, callback) => {
    prepare(this, onConnection, asked);
    const { begin, NODE } = internals.servers;
    this.once("listening", () => begin(NODE, listenForProbe));
    ReflectApply(listen, this, [{ path, signal: asked.signal, backlog: asked.backlog }, callback]);
    internals.servers.keep(this);
    if (this._handle) guardCall(this._handle, "onconnection");
  };
  const take = (path) => this.listening && listenQuietly(this, () => listenAt(path));
  const drop = () => leave(this, asked);
  const { claim, NODE: kind } = internals.servers;
  const place = asked.path ?? `port ${asked.port}`;
  const path = claim({ kind, place, port: asked.chosenPort, take, drop });
  if (path === undefined) return listenNowhere(this, callback);
  listenAt(path, callback);
  return this;
};

// Has a server that listens only seem to do so. Those who have a connection are to make another.
function leave(server, asked) {
  const handle = server._handle;
  if (!handle) return; // Closed, while another isolate's server was served.
  server._handle = nowhere();
  handle.close();
  asked.isLeft = true;
  server.closeIdleConnections?.();
}

// Has a server that has seemed to listen do so. Its listeners have been told.
function listenQuietly(server, listenAt) {
  const told = server.rawListeners("listening");
  server.removeAllListeners("listening");
  server._handle = null;
  listenAt();
  server.once("listening", () => {
    for (const listener of new SafeArrayIterator(told)) server.on("listening", listener);
  });
  return true;
}

// A server of node:http2 has a session for each connection. One that takes HTTP/1.1 too has none,
// as with clients that speak nothing else, unless it listens for streams.
function http2Of(server, scheme, toSession) {
  const { _connectionListener } = loadHttpServer();
  // Set for those alone.
  const takesHttp1 = server.connectionsCheckingInterval !== undefined;
  return (socket) => {
    const isStreams = server.listenerCount("stream") > server.listenerCount("request");
    const asked = takesHttp1 && !isStreams ? server : translator(socket, server, scheme, toSession);
    ReflectApply(_connectionListener, asked, [socket]);
  };
}

// Those that speak TLS listen as any server of node:tls does.
function http2OfSecure(server) {
  if (typeof server.updateSettings !== "function") return undefined;
  if (!ObjectPrototypeIsPrototypeOf(loadTls().default.Server.prototype, server)) return undefined;
  return http2Of(server, "https", (socket) => server.emit("secureConnection", socket));
}

// Returns a server of node:http that hands the requests of a connection on to a server of
// node:http2, by a session with it in this isolate.
function translator(socket, server, scheme, toSession) {
  const link = idleLink(server) ?? makeLink(server, toSession);
  link.socket = socket;
  socket.on("close", () => giveBack(link));
  const translator = loadHttp().createServer((request, response) => {
    translate(request, response, link, scheme);
  });
  // One that listens keeps its connections.
  translator._handle = nowhere();
  return translator;
}

// Returns a session with a server of node:http2, for one connection after the other.
function makeLink(server, toSession) {
  const [near, far] = loadStream().duplexPair();
  deliverLater(near);
  deliverLater(far);
  far.alpnProtocol = "h2";
  far.server = server;
  for (const name of new SafeArrayIterator([...REMOTE, ...LOCAL])) {
    ObjectDefineProperty(far, name, { __proto__: null, get: () => link.socket?.[name] });
  }
  const link = { server, session: undefined, socket: undefined, streams: 0, cancelled: 0 };
  toSession(far);
  const session = loadHttp2().connect("http://localhost", { createConnection: () => near });
  // The requests have it too.
  session.on("error", () => {});
  session.on("close", () => link.socket?.destroy());
  link.session = session;
  return link;
}

function idleLink(server) {
  const links = idle.get(server);
  while (links !== undefined && links.length > 0) {
    const link = ArrayPrototypePop(links);
    if (!link.session.closed && !link.session.destroyed) return link;
  }
}

// Keeps a session for the next connection, when its own is closed and its streams are. Deno's
// sessions sometimes crash the process when they end (nghttp2 and two ends in one isolate).
function giveBack(link) {
  const { server, session, socket } = link;
  if (socket === undefined || !socket.destroyed || link.streams > 0) return;
  link.socket = undefined;
  if (session.closed || session.destroyed) return;
  if (!idle.has(server)) idle.set(server, []);
  const links = idle.get(server);
  // Not by `destroy`, which gives back the memory of streams that are still being closed.
  if (links.length >= MAX_IDLE || link.cancelled >= MAX_CANCELLED) session.close();
  else ArrayPrototypePush(links, link);
}

// Has the other end of a pair get what is written to this one on a later turn. At once, a session
// would be asked to read while it is still within its own reading or writing, and would give back
// twice the memory of streams that this closes.
function deliverLater(end) {
  const { _write: write } = end;
  const { nextTick } = loadProcess().default;
  end._write = (chunk, encoding, done) => {
    nextTick(() => ReflectApply(write, end, [chunk, encoding, done]));
  };
}

function translate(request, response, link, scheme) {
  const { session } = link;
  const { host, connection, upgrade, "transfer-encoding": coding, ...headers } = request.headers;
  const endStream = coding === undefined && headers["content-length"] === undefined;
  const { method, url } = request;
  const pseudo = { ":method": method, ":path": url, ":scheme": scheme, ":authority": host };
  let stream;
  try {
    stream = session.request({ ...pseudo, ...headers }, { endStream });
  } catch (error) {
    response.destroy(error); // The server has ended the session, or it has had all its streams.
    session.close();
    return;
  }
  link.streams++;
  stream.on("close", () => {
    link.streams--;
    giveBack(link);
  });
  stream.on("response", ({ ":status": status, ...headers }) => {
    response.writeHead(status, headers);
    stream.pipe(response);
  });
  stream.on("trailers", (trailers) => response.addTrailers(trailers));
  stream.on("error", (error) => response.destroy(error));
  response.on("close", () => {
    if (response.writableFinished) return;
    link.cancelled++;
    stream.close(CANCEL);
  });
  if (!endStream) request.pipe(stream);
}

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
  if (typeof first === "object" && first !== null) return { ...first, ...portsOf(first.port) };
  if (typeof first === "string" && NumberIsNaN(Number(first))) return { path: first };
  return { ...portsOf(first), host: typeof second === "string" ? second : undefined };
}

// The port that is shown, and the one by which a server is chosen: none if the system chooses.
function portsOf(port) {
  const named = Number(port) || undefined;
  return { port: named ?? internals.servers?.PORT, chosenPort: named };
}

function addressOf({ path, port, host }) {
  if (path !== undefined) return path;
  const address = !host ? "::" : net.isIP(host) ? host : "127.0.0.1";
  return { address, family: net.isIPv6(address) ? "IPv6" : "IPv4", port };
}

// The address that a client at `remoteFamily` has connected to. A server that listens on all has
// been asked on this machine's own.
function localOf({ path, port, host }, remoteFamily) {
  if (path !== undefined) return {};
  const isAny = !net.isIP(host) || host === "::" || host === "0.0.0.0";
  const localAddress = !isAny ? host : remoteFamily === "IPv6" ? "::1" : "127.0.0.1";
  return { localAddress, localPort: port, localFamily: net.isIPv6(localAddress) ? "IPv6" : "IPv4" };
}

function nowhere() {
  return { close() {}, ref() {}, unref() {} };
}

function listenNowhere(server, callback) {
  if (callback !== undefined) server.once("listening", callback);
  const handle = server._handle = nowhere();
  queueMicrotask(() => server._handle === handle && server.emit("listening"));
  return server;
}

// Returns the TCP port, host and signal that a server that is not a web server asks for. Undefined:
// it asks for something else, or for an invalid port, of which node:net reports an error.
function tcpOf(first, second) {
  if (typeof first === "string" && NumberIsNaN(Number(first))) return undefined; // A path.
  const isOptions = typeof first === "object" && first !== null;
  const options = isOptions ? first : {
    port: typeof first === "function" ? undefined : first,
    host: typeof second === "string" ? second : undefined,
  };
  const { host, signal, fd, handle, _handle } = options;
  if ((fd ?? handle ?? _handle) !== undefined || !("port" in options)) return undefined;
  const port = options.port ?? 0;
  const isValid = typeof port === "number" || typeof port === "string" && port !== "";
  const number = isValid ? Number(port) : -1;
  if (!NumberIsInteger(number) || number < 0 || number > LAST_PORT) return undefined;
  return { port: number || freePort(), host, signal };
}

// Returns a port in the place of the one that the system would choose, not the same one soon again.
function freePort() {
  lastFreePort = lastFreePort === LAST_PORT ? FIRST_FREE_PORT : lastFreePort + 1;
  return lastFreePort;
}

// Has a server only seem to listen: programs that look for a free port go on.
function ignoreTcp(server, asked, callback) {
  const { signal, port } = asked;
  server.address = () => server.listening ? addressOf(asked) : null;
  if (signal?.aborted) queueMicrotask(() => server.close());
  else signal?.addEventListener("abort", () => server.close(), { once: true });
  internals.servers.warnOfTcp(port);
  return listenNowhere(server, callback);
}

// Has `onConnection` take the connections of a server, in the place of the listener that it was
// made with, which may begin with TLS or HTTP/2. Once for each server, which may listen, close, and
// listen elsewhere.
function prepare(server, onConnection, asked) {
  const isNew = !prepared.has(server);
  prepared.set(server, asked);
  if (!isNew) return;
  const accept = (socket) => {
    // Has Deno take the scheme and the host off a target that is a whole URL.
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

// A connection has requests of many clients, one after the other.
function describe(socket, asked) {
  const { parser } = socket;
  if (!parser) return;
  let client = {};
  const local = () => localOf(asked, client.remoteFamily);
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
    // So that it knows how many are left.
    request._addHeaderLines(headers, headers.length);
    try {
      return onIncoming(request, isKept && !asked.isLeft);
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

function guardCall(parser, name) {
  const call = parser[name];
  parser[name] = function (first, second) {
    try {
      return FunctionPrototypeCall(call, this, first, second);
    } catch (error) {
      raise(error);
    }
  };
}

// What a listener throws is an error that nobody catches, as in Node. Deno's parser would take it
// for a request that it cannot read. It is raised behind the parser, which would write an answer.
function raise(error) {
  PromisePrototypeThen(PromiseResolve(), () => reportException(error));
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
