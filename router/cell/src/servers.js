// Which of a project's servers is served: the first one that listens, whatever address it names. A
// further one is told that it listens too, and nobody asks it. Loaded in each isolate before the
// project's code, so that nothing that this does to `Deno` or to JavaScript's own classes changes
// it; and so that the server's modules are loaded by then.
//
// Called with the paths of the version's sockets, it gives the function that serves what a main
// module exports by default.

import { internals, primordials } from "ext:core/mod.js";

const {
  ArrayPrototypeFind,
  Number,
  ObjectAssign,
  ObjectDefineProperty,
  ObjectFreeze,
  ObjectGetOwnPropertyDescriptor,
  Promise,
} = primordials;
const { Deno, Response, URL } = globalThis;
const { serve, lstatSync, removeSync } = Deno;
const { PermissionDenied } = Deno.errors;
const { asyncDispose } = Symbol;
const { warn } = console;

// What a server is told that names no port, or leaves the choice to the system.
const PORT = 8000;

let socket, probe, first, warned = false, isProbed = false;

function isServed() {
  try {
    lstatSync(socket);
    return true;
  } catch {
    return false;
  }
}

// Where the server that asks for `place` is to listen. Nowhere, unless it is the first one.
function claim(place) {
  if (socket !== undefined && !isServed()) {
    first = place;
    return socket;
  }
  // Some libraries listen on each address of a host.
  if (place !== first && !warned) {
    warned = true;
    warn(`This server (${place}) gets no requests: only the first server of a project does.`);
  }
}

// The server that listens on the socket, or did so last.
let listening;

function keep(server) {
  listening = server;
}

// From here on it does not keep the event loop alive.
function release() {
  try {
    listening?.unref();
  } catch {
    // The project has put something else there.
  }
}

// Has `listen` answer the router's probe, at the path that it is called with: by the same kind of
// server as the project's and in the same isolate, so that it fails when no answer can be made
// there, but without the project's handler. A project whose probe cannot be answered is served all
// the same.
function answerProbe(listen) {
  if (isProbed) return;
  isProbed = true;
  try {
    // That of an isolate that served before.
    removeSync(probe);
  } catch {
    // There was none.
  }
  try {
    listen(probe);
  } catch {
    isProbed = false;
  }
}

// Does what most handlers do, with what JavaScript and the classes of the web have become in this
// isolate.
async function answer(request) {
  const { pathname } = new URL(request.url);
  const host = request.headers.get("host");
  const headers = { "content-type": "text/plain" };
  return new Response(`${request.method} ${pathname} ${host}`, { headers });
}

function serveProbe(path) {
  serve({ __proto__: null, path, onListen() {}, handler: answer }).unref();
}

function served(first, second) {
  const candidates = [first, second, first?.handler];
  const handler = ArrayPrototypeFind(candidates, (value) => typeof value === "function");
  const options = typeof first === "function" ? {} : first;
  if (handler === undefined || typeof options !== "object") return serve(first, second);
  const { path, hostname = "0.0.0.0", port } = options;
  const addr = path === undefined
    ? { transport: "tcp", hostname, port: Number(port) || PORT }
    : { transport: "unix", path };
  const onListen = () => options.onListen?.(addr);
  const place = claim(path ?? `port ${addr.port}`);
  if (place === undefined) return unserved(addr, options.signal, onListen);
  const server = ObjectAssign(serve({ ...options, path: place, onListen }, handler), { addr });
  answerProbe(serveProbe);
  keep(server);
  return server;
}

function unserved(addr, signal, onListen) {
  let resolve;
  const finished = new Promise((resolved) => resolve = resolved);
  const shutdown = () => (resolve(), finished);
  if (signal?.aborted) resolve();
  signal?.addEventListener("abort", shutdown, { once: true });
  onListen();
  return { addr, finished, shutdown, ref() {}, unref() {}, [asyncDispose]: shutdown };
}

function serveDefault(main) {
  const exported = main.default;
  let handler;
  if (typeof exported?.fetch === "function") {
    handler = (request, info) => exported.fetch(request, info);
  } else if (typeof exported === "function" && typeof exported.listen !== "function") {
    // An app of Express and the like is a function too, but not of a Request, and listens by
    // itself.
    handler = (request, info) => exported(request, info);
  } else {
    return;
  }
  const told = exported.onListen;
  const onListen = typeof told === "function" ? (address) => told.call(exported, address) : () => {};
  served({ handler, onListen });
}

// QUIC listens on a port, where nobody's datagrams arrive who was not sent to.
function noPort() {
  throw new PermissionDenied(
    "A project opens no port: it is served by Deno.serve, a default export or node:http",
  );
}

// Its module is loaded when it is asked for.
const quic = ObjectGetOwnPropertyDescriptor(Deno, "QuicEndpoint");
ObjectDefineProperty(Deno, "QuicEndpoint", {
  ...quic,
  get() {
    const QuicEndpoint = quic.get();
    QuicEndpoint.prototype.listen = ObjectDefineProperty(noPort, "name", { value: "listen" });
    return QuicEndpoint;
  },
});

Deno.serve = ObjectDefineProperty(served, "name", { value: "serve" });
// For `node_servers.js`.
const servers = { value: ObjectFreeze({ __proto__: null, claim, keep, release, answerProbe, PORT }) };
ObjectDefineProperty(internals, "servers", servers);

export default function listenAt(path, probePath) {
  socket = path;
  probe = probePath;
  return serveDefault;
}
