// Selects the server that is served among those of a project, whatever address they name: the one
// on the project's port, else the first that listens. The others behave as if they listened, and
// get no requests. Loaded in each isolate before the project's code, so that nothing that this does
// to `Deno` or to JavaScript's own classes changes it; and so that the server's modules are loaded
// by then.
//
// A server on another port waits until the entry has been evaluated, and for a moment longer: the
// one on the project's port may still come. By then it has long been told that it listens, as the
// entry may wait for that.

import { core, internals, primordials } from "ext:core/mod.js";

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

// The port of a server that names none, or leaves the choice to the system.
const PORT = 8000;

// The kinds of servers, as in `servers.rs`.
const DENO = 1;
const NODE = 2;

// Milliseconds, the least that a timer can wait, that a server on another port waits for the one on
// the project's: enough for those that are made by the same code.
const MOMENT = 1;

// Milliseconds for which a server on the project's port may take over from the one that was served
// for want of it: the start of a program, with its connections to databases and the like.
const START = 10_000;

let socket, probe, configuredPort, announce, isSettled;
let chosen, warned = false, warnedOfTcp = false, isProbed = false;

// The server that is served for want of one on the project's port, if it can be replaced.
let substitute;

// While servers wait for the entry, which may await nothing but their end, something is left to do:
// else Deno takes its evaluation for one that cannot go on.
const LONG = 2 ** 31 - 1;
let pending;

// Servers that may be served, in the order in which they listened: `place` is how it is called,
// `take(path)` has it listen and returns false if it has been closed, and `drop()`, where it is
// there, has it only seem to listen again.
const waiting = [];

function isServed() {
  try {
    lstatSync(socket);
    return true;
  } catch {
    return false;
  }
}

// The port whose server is served. `PORT` is looked up late: the project may set it.
function projectPort() {
  if (configuredPort !== undefined) return configuredPort;
  try {
    return Number(env.get("PORT")) || PORT;
  } catch {
    return PORT; // A worker without the permission.
  }
}

// Returns the path on which a server is to listen. Undefined: nowhere, unless `take` is called. One
// that leaves its port to the system has none here.
function claim(server) {
  const { kind, place, port } = server;
  const isRight = port !== undefined && port === projectPort();
  if (isRight) replaceSubstitute(place);
  if (socket === undefined || isServed()) return ignore(place, port);
  if (isRight) {
    chosen = place;
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
  const { place, port, drop } = substitute;
  drop();
  chosen = by;
  ignore(place, port);
}

function chooseSoon() {
  if (waiting.length > 0) setTimeout(choose, MOMENT);
}

// Has one of the servers that wait served, unless another one is by now.
function choose() {
  const all = ArrayPrototypeSplice(waiting, 0);
  const best = ArrayPrototypeFindIndex(all, ({ port }) => port === projectPort());
  if (best > 0) ArrayPrototypeUnshift(all, ArrayPrototypeSplice(all, best, 1)[0]);
  for (const { place, port, take, drop } of new SafeArrayIterator(all)) {
    if (isServed()) {
      ignore(place, port);
    } else if (take(socket)) {
      chosen = place;
      const canBeReplaced = drop !== undefined && port !== projectPort();
      substitute = canBeReplaced ? { place, port, drop, until: DateNow() + START } : undefined;
    }
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

// Says once that a server gets no requests. Some libraries listen on each address of a host.
function ignore(place, port) {
  if (place === chosen || warned) return;
  warned = true;
  const served = chosen === undefined ? "Another thread's server" : `The server on ${chosen}`;
  const fix = port === undefined ? "" : `, unless deno.json says "switchyard": {"port": ${port}}`;
  warn(`${served} is served; the one on ${place} gets no requests${fix}`);
}

// Warns once that a server of node:net or node:tls gets no connections.
function warnOfTcp(port) {
  if (warnedOfTcp) return;
  warnedOfTcp = true;
  warn(`TCP servers get no connections here: the one on port ${port} only seems to listen`);
}

// To be called when a server has begun to be served.
function begin(kind, listenForProbe) {
  announce(kind, true);
  answerProbe(listenForProbe);
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
  const serveAt = (path, onListen) => {
    const server = serve({ ...options, path, onListen }, handler);
    keep(server);
    begin(DENO, serveProbe);
    return server;
  };
  const onListen = () => options.onListen?.(addr);
  const waits = unserved(addr, options.signal);
  const take = (path) => waits.become(() => serveAt(path, () => {}));
  const place = path ?? `port ${addr.port}`;
  const at = claim({ kind: DENO, place, port: portOf(path, port), take });
  if (at !== undefined) return ObjectAssign(serveAt(at, onListen), { addr });
  onListen();
  return waits.server;
}

// The port by which a server of Deno's is chosen. One that names none is on the project's, as
// wherever the platform says where to listen.
function portOf(path, port) {
  if (path !== undefined || Number(port) === 0) return undefined;
  return port === undefined && configuredPort === undefined ? projectPort() : Number(port) || PORT;
}

// A server that listens nowhere, and what makes it one that does.
function unserved(addr, signal) {
  let resolve, reject, real, isOver = false, isKept = true;
  const finished = new Promise((resolved, rejected) => (resolve = resolved, reject = rejected));
  const shutdown = () => {
    isOver = true;
    if (real === undefined) resolve();
    else PromisePrototypeThen(real.shutdown(), undefined, () => {});
    return finished;
  };
  if (signal?.aborted) shutdown();
  // The real one has the signal too.
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
const shared = { __proto__: null, claim, keep, release, begin, warnOfTcp, NODE, PORT };
ObjectDefineProperty(internals, "servers", { value: ObjectFreeze(shared) });

// Called with what the version has: `port` is what its configuration says, if anything, and
// `announceKind` tells the cell how it is served. Returns the function to be called when the entry
// has been evaluated, with its exports, or is not waited for any longer, with nothing.
export default function listenAt(path, probePath, port, announceKind, isMain) {
  socket = path;
  probe = probePath;
  configuredPort = port;
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
