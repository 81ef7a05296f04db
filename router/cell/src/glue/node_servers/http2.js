// @ts-check
// Servers of node:http2, which are asked in HTTP/1.1: a server of node:http translates each request
// for a session with the server in the same isolate.

import { core, primordials } from "ext:core/mod.js";
import { compressResponses } from "ext:switchyard/node_servers/compress.js";
import { LOCAL, REMOTE } from "ext:switchyard/node_servers/connection.js";

const {
  ArrayPrototypePop,
  ArrayPrototypePush,
  ObjectDefineProperty,
  ObjectPrototypeIsPrototypeOf,
  ReflectApply,
  SafeArrayIterator,
  SafeWeakMap,
} = primordials;
const loadHttp = core.createLazyLoader("node:http");
const loadHttpServer = core.createLazyLoader("node:_http_server");
const loadHttp2 = core.createLazyLoader("node:http2");
const loadProcess = core.createLazyLoader("node:process");
const loadStream = core.createLazyLoader("node:stream");
const loadTls = core.createLazyLoader("node:tls");

// The HTTP/2 error code for a stream that is no longer wanted.
const CANCEL = 8;

// Idle sessions by server, and the most of them: as many as a project has requests in flight by
// default.
const idle = new SafeWeakMap();
const MAX_IDLE = 100;

// Streams that a session may have cancelled: nghttp2 ends a session with 1000 in a short time.
const MAX_CANCELLED = 500;

// Returns the listener for connections of a server of node:http2, which has a session for each. A
// server that takes HTTP/1.1 too has none, as for clients that speak nothing else, unless it
// listens for streams.
export function acceptHttp2(server, scheme, toSession) {
  const { _connectionListener } = loadHttpServer();
  // Set only for servers that take HTTP/1.1 too.
  const takesHttp1 = server.connectionsCheckingInterval !== undefined;
  return (socket) => {
    const isStreams = server.listenerCount("stream") > server.listenerCount("request");
    const target = takesHttp1 && !isStreams
      ? server
      : translator(socket, server, scheme, toSession);
    ReflectApply(_connectionListener, target, [socket]);
  };
}

// Returns the listener for connections of a server of node:http2 with TLS, which listens as any
// server of node:tls, or undefined for any other server.
export function acceptSecureHttp2(server) {
  if (typeof server.updateSettings !== "function") return undefined;
  if (!ObjectPrototypeIsPrototypeOf(loadTls().default.Server.prototype, server)) return undefined;
  return acceptHttp2(server, "https", (socket) => server.emit("secureConnection", socket));
}

// Returns a server of node:http that forwards the requests of a connection to a server of
// node:http2.
function translator(socket, server, scheme, toSession) {
  const link = idleLink(server) ?? makeLink(server, toSession);
  link.socket = socket;
  socket.on("close", () => giveBack(link));
  const translator = loadHttp().createServer((request, response) => {
    translate(request, response, link, scheme);
  });
  // A server keeps its connections only while it listens.
  translator._handle = { close() {}, ref() {}, unref() {} };
  compressResponses(translator);
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
  /** @type {{ server: any, session: any, socket: any, streams: number, cancelled: number }} */
  const link = { server, session: undefined, socket: undefined, streams: 0, cancelled: 0 };
  toSession(far);
  const session = loadHttp2().connect("http://localhost", { createConnection: () => near });
  // The requests report the error too.
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

// Keeps a session for the next connection, once its connection and its streams are closed. Deno's
// sessions sometimes crash the process when they end (nghttp2 and two ends in one isolate).
function giveBack(link) {
  const { server, session, socket } = link;
  if (socket === undefined || !socket.destroyed || link.streams > 0) return;
  link.socket = undefined;
  if (session.closed || session.destroyed) return;
  if (!idle.has(server)) idle.set(server, []);
  const links = idle.get(server);
  // Not by `destroy`, which frees the memory of streams that are still being closed.
  if (links.length >= MAX_IDLE || link.cancelled >= MAX_CANCELLED) session.close();
  else ArrayPrototypePush(links, link);
}

// Delivers writes to the other end of a pair on a later turn. At once, a session would read while
// it is still within its own reading or writing, and would free the memory of closed streams twice.
function deliverLater(end) {
  const { _write: write } = end;
  const { nextTick } = loadProcess().default;
  end._write = (chunk, encoding, done) => {
    nextTick(() => ReflectApply(write, end, [chunk, encoding, done]));
  };
}

function translate(request, response, link, scheme) {
  const { session } = link;
  const {
    host,
    connection: _connection,
    upgrade: _upgrade,
    "transfer-encoding": coding,
    ...headers
  } = request.headers;
  const endStream = coding === undefined && headers["content-length"] === undefined;
  const { method, url } = request;
  const pseudo = { ":method": method, ":path": url, ":scheme": scheme, ":authority": host };
  let stream;
  try {
    stream = session.request({ ...pseudo, ...headers }, { endStream });
  } catch (error) {
    response.destroy(error); // The session has ended or has no stream left.
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
