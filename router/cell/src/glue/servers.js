// @ts-check
// Selects the server that is served among those of a project, whichever address they name: the one
// on the project's port, else the first that listens. The others behave as if they listened, and
// get no requests. Loaded in each isolate before the project's code, so that changes of the project
// to `Deno` or to JavaScript's own classes do not affect this module, and so that the server's
// modules are loaded by then.
//
// A server on another port waits until the entry has been evaluated, and a moment longer, as the
// one on the project's port may still come. Its listeners are notified before that, as the entry
// may wait for them.

import { core, internals, primordials } from "ext:core/mod.js";
import { compressors, serveFrames } from "ext:switchyard/transport.js";

const {
  ArrayPrototypeFind,
  ArrayPrototypeFindIndex,
  ArrayPrototypePush,
  ArrayPrototypeSplice,
  ArrayPrototypeUnshift,
  DateNow,
  Number,
  ObjectAssign,
  ObjectDefineProperty,
  ObjectFreeze,
  ObjectGetOwnPropertyDescriptor,
  Promise,
  PromisePrototypeThen,
  SafeArrayIterator,
} = primordials;
const { Deno, Response, URL, setTimeout } = globalThis;
const { env, serve, lstatSync, removeSync } = Deno;
const { PermissionDenied } = Deno.errors;
const { asyncDispose } = Symbol;
const { warn } = console;

// The port of a server that names none or leaves the choice to the system.
const PORT = 8000;

// The kinds of servers, as in `servers.rs`.
const DENO = 1;
const NODE = 2;

// Milliseconds that a server on another port waits for the one on the project's: the shortest
// timer, which is enough for servers that the same code makes.
const MOMENT = 1;

// Milliseconds for which a server on the project's port may replace the one that is served instead:
// the start of a program, with its connections to databases and the like.
const START = 10_000;

let socket, transport, probe, configuredPort, compress, announce, isSettled;
let chosen, warned = false, warnedOfTcp = false, isProbed = false;

// The server that is served until one on the project's port comes, if it can be replaced.
let substitute;

// Milliseconds of a timer that keeps the event loop alive while servers wait for the entry, which
// may await only their end: otherwise Deno takes its evaluation for one that cannot go on.
const LONG = 2 ** 31 - 1;
let pending;

// Servers that may be served, in the order in which they listened: `name` is for warnings,
// `take(path)` makes it listen and returns false if it has been closed, and `drop()`, which not all
// have, makes it only seem to listen again.
const waiting = [];

function isServed() {
  try {
    lstatSync(socket);
    return true;
  } catch {
    return false;
  }
}

// Returns the port whose server is served. `PORT` is read late, as the project may set it.
function projectPort() {
  if (configuredPort !== undefined) return configuredPort;
  try {
    return Number(env.get("PORT")) || PORT;
  } catch {
    return PORT; // A worker without the permission.
  }
}

// Returns the path for a server to listen on, or undefined if it does not listen until `take` is
// called. A server that leaves its port to the system has none here.
function claim(server) {
  const { kind, name, port } = server;
  const isRight = port !== undefined && port === projectPort();
  if (isRight) replaceSubstitute(name);
  if (socket === undefined || isServed()) return ignore(name, port);
  if (isRight) {
    chosen = name;
    substitute = undefined;
    return socket;
  }
  ArrayPrototypePush(waiting, server);
  announce(kind, false);
  if (isSettled) chooseSoon();
  else pending ??= core.createSystemTimer(() => {}, LONG, true);
}

function replaceSubstitute(by) {
  if (substitute === undefined || DateNow() > substitute.until || !isServed()) return;
  const { name, port, drop } = substitute;
  drop();
  chosen = by;
  ignore(name, port);
}

function chooseSoon() {
  if (waiting.length > 0) setTimeout(choose, MOMENT);
}

// Serves one of the servers that wait, unless another one is served by now.
function choose() {
  const all = ArrayPrototypeSplice(waiting, 0);
  const best = ArrayPrototypeFindIndex(all, ({ port }) => port === projectPort());
  if (best > 0) ArrayPrototypeUnshift(all, ArrayPrototypeSplice(all, best, 1)[0]);
  for (const { name, port, take, drop } of new SafeArrayIterator(all)) {
    if (isServed()) {
      ignore(name, port);
    } else if (take(socket)) {
      chosen = name;
      const canBeReplaced = drop !== undefined && port !== projectPort();
      substitute = canBeReplaced ? { name, port, drop, until: DateNow() + START } : undefined;
    }
  }
}

// The server that listens on the socket, or did so last.
let listening;

function keep(server) {
  listening = server;
}

// Lets the event loop end although the server listens.
function release() {
  try {
    listening?.unref();
  } catch {
    // The project has replaced the method.
  }
}

// Warns once that a server gets no requests. Some libraries listen on each address of a host.
function ignore(name, port) {
  if (name === chosen || warned) return;
  warned = true;
  const served = chosen === undefined ? "Another thread's server" : `The server on ${chosen}`;
  const fix = port === undefined ? "" : `, unless deno.json says "switchyard": {"port": ${port}}`;
  warn(`${served} is served; the one on ${name} gets no requests${fix}`);
}

// Warns once that a server of node:net or node:tls gets no connections.
function warnOfTcp(port) {
  if (warnedOfTcp) return;
  warnedOfTcp = true;
  warn(`TCP servers get no connections here: the one on port ${port} only seems to listen`);
}

// Called when a server is served. `isFramed`: it takes requests as frames too.
function begin(kind, listenForProbe, isFramed = false) {
  announce(kind, true, isFramed);
  answerProbe(listenForProbe);
}

// Makes `listen` answer the router's probe, on the path that it is called with: with the same kind
// of server as the project's and in the same isolate, so that it fails if no answer can be made
// there, but without the project's handler. A project is served even if its probe cannot be
// answered.
function answerProbe(listen) {
  if (isProbed) return;
  isProbed = true;
  try {
    // The socket of an isolate that served before.
    removeSync(probe);
  } catch {
    // There is no such socket.
  }
  try {
    listen(probe);
  } catch {
    isProbed = false;
  }
}

// Answers the probe as most handlers do, with the present state of JavaScript's and the web's
// classes in this isolate.
// deno-lint-ignore require-await -- A handler usually returns a promise.
async function answer(request) {
  const { pathname } = new URL(request.url);
  const host = request.headers.get("host");
  const headers = { "content-type": "text/plain" };
  return new Response(`${request.method} ${pathname} ${host}`, { headers });
}

function serveProbe(path) {
  /** @type {any} */
  const options = { __proto__: null, path, onListen() {}, handler: answer };
  serve(options).unref();
}

function serveSelected(first, second) {
  const candidates = [first, second, first?.handler];
  const handler = ArrayPrototypeFind(candidates, (value) => typeof value === "function");
  const options = typeof first === "function" ? {} : first;
  if (handler === undefined || typeof options !== "object") return serve(first, second);
  const { path, hostname = "0.0.0.0", port } = options;
  const addr = path === undefined
    ? { transport: "tcp", hostname, port: Number(port) || PORT }
    : { transport: "unix", path };
  const serveAt = (path, onListen) => {
    const own = { ...options, path, onListen };
    // For requests that do not come as frames.
    const automaticCompression = own.automaticCompression ?? (compress || undefined);
    const server = serve({ ...own, automaticCompression }, handler);
    keep(server);
    begin(DENO, serveProbe, serveFrames(server, transport, own, handler, compress));
    return server;
  };
  const onListen = () => options.onListen?.(addr);
  const placeholder = placeholderServer(addr, options.signal);
  const take = (path) => placeholder.become(() => serveAt(path, () => {}));
  const name = path ?? `port ${addr.port}`;
  const at = claim({ kind: DENO, name, port: portOf(path, port), take });
  if (at !== undefined) return ObjectAssign(serveAt(at, onListen), { addr });
  onListen();
  return placeholder.server;
}

// Returns the port by which a server of Deno's is chosen. A server that names none is on the
// project's, as on platforms that choose the port.
function portOf(path, port) {
  if (path !== undefined || Number(port) === 0) return undefined;
  return port === undefined && configuredPort === undefined ? projectPort() : Number(port) || PORT;
}

// Returns a server that listens nowhere, and the function that makes it listen.
function placeholderServer(addr, signal) {
  let resolve, reject, real, isOver = false, isKept = true;
  const finished = new Promise((resolved, rejected) => (resolve = resolved, reject = rejected));
  const shutdown = () => {
    isOver = true;
    if (real === undefined) resolve();
    else PromisePrototypeThen(real.shutdown(), undefined, () => {});
    return finished;
  };
  if (signal?.aborted) shutdown();
  // The real server handles the signal too.
  signal?.addEventListener("abort", () => real ?? shutdown(), { once: true });
  const become = (serveAt) => {
    if (isOver) return false;
    real = serveAt();
    if (!isKept) real.unref();
    PromisePrototypeThen(real.finished, resolve, reject);
    return true;
  };
  const server = {
    addr,
    finished,
    shutdown,
    ref: () => (isKept = true, real?.ref()),
    unref: () => (isKept = false, real?.unref()),
    [asyncDispose]: shutdown,
  };
  return { server, become };
}

function serveDefault(main) {
  const exported = main.default;
  let handler;
  if (typeof exported?.fetch === "function") {
    handler = (request, info) => exported.fetch(request, info);
  } else if (typeof exported === "function" && typeof exported.listen !== "function") {
    // An app of Express and the like is a function too, but not of a Request, and listens on its
    // own.
    handler = (request, info) => exported(request, info);
  } else {
    return;
  }
  const listener = exported.onListen;
  const onListen = typeof listener === "function"
    ? (address) => listener.call(exported, address)
    : () => {};
  serveSelected({ handler, onListen });
}

// Refuses to listen with QUIC: datagrams arrive only from addresses that were sent to.
function noPort() {
  throw new PermissionDenied(
    "A project opens no port: it is served by Deno.serve, a default export or node:http",
  );
}

// The getter loads QUIC's module.
/** @type {any} */
const quic = ObjectGetOwnPropertyDescriptor(Deno, "QuicEndpoint");
ObjectDefineProperty(Deno, "QuicEndpoint", {
  ...quic,
  get() {
    const QuicEndpoint = quic.get();
    QuicEndpoint.prototype.listen = ObjectDefineProperty(noPort, "name", { value: "listen" });
    return QuicEndpoint;
  },
});

Deno.serve = /** @type {any} */ (
  ObjectDefineProperty(serveSelected, "name", { value: "serve" })
);
// For `node_servers.js`.
const compression = { ...compressors, isOn: () => compress };
const shared = { __proto__: null, claim, keep, release, begin, warnOfTcp, compression, NODE, PORT };
ObjectDefineProperty(internals, "servers", { value: ObjectFreeze(shared) });

// Called when a version is assigned. `port`: the configured port, if any. `compresses`: responses are
// compressed. `announceKind`: reports
// to the cell which kind of server is served. Returns the function to call with the entry's exports
// once it has been evaluated, or with nothing if its evaluation goes on.
export default function listenAt(
  path,
  framesPath,
  probePath,
  port,
  compresses,
  announceKind,
  isMain,
) {
  socket = path;
  transport = framesPath;
  probe = probePath;
  configuredPort = port;
  compress = compresses;
  announce = announceKind;
  isSettled = !isMain;
  return settle;
}

function settle(exports) {
  isSettled = true;
  if (pending !== undefined) core.cancelTimer(pending);
  if (exports === undefined) choose();
  else if (waiting.length === 0 && !isServed()) serveDefault(exports);
  else chooseSoon();
}
