// Which of a project's servers is served: the first one that listens, whatever address it names. A further one is told
// that it listens too, and nobody asks it. Run in each isolate before the project's code, so that nothing that this does
// to `Deno` changes it; and so that the server's modules are loaded by then.
//
// Called with the path of the version's socket, it gives the function that serves what a main module exports by default.
(() => {
  const { serve, lstatSync, internal } = Deno;
  const { warn } = console;
  // What a server is told that names no port, or leaves the choice to the system.
  const PORT = 8000;
  let socket, first, warned = false;

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

  function served(first, second) {
    const handler = [first, second, first?.handler].find((value) => typeof value === "function");
    const options = typeof first === "function" ? {} : first;
    if (handler === undefined || typeof options !== "object") return serve(first, second);
    const { path, hostname = "0.0.0.0", port } = options;
    const addr = path === undefined
      ? { transport: "tcp", hostname, port: Number(port) || PORT }
      : { transport: "unix", path };
    const onListen = () => options.onListen?.(addr);
    const place = claim(path ?? `port ${addr.port}`);
    if (place === undefined) return unserved(addr, options.signal, onListen);
    return Object.assign(serve({ ...options, path: place, onListen }, handler), { addr });
  }

  function unserved(addr, signal, onListen) {
    const { promise: finished, resolve } = Promise.withResolvers();
    const shutdown = () => (resolve(), finished);
    if (signal?.aborted) resolve();
    signal?.addEventListener("abort", shutdown, { once: true });
    onListen();
    return { addr, finished, shutdown, ref() {}, unref() {}, [Symbol.asyncDispose]: shutdown };
  }

  function serveDefault(main) {
    const exported = main.default;
    let handler;
    if (typeof exported?.fetch === "function") {
      handler = (request, info) => exported.fetch(request, info);
    } else if (typeof exported === "function" && typeof exported.listen !== "function") {
      // An app of Express and the like is a function too, but not of a Request, and listens by itself.
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
    throw new Deno.errors.PermissionDenied("A project opens no port: it is served by Deno.serve, a default export or node:http");
  }

  // Its module is loaded when it is asked for.
  const quic = Object.getOwnPropertyDescriptor(Deno, "QuicEndpoint");
  Object.defineProperty(Deno, "QuicEndpoint", {
    ...quic,
    get() {
      const QuicEndpoint = quic.get();
      QuicEndpoint.prototype.listen = Object.defineProperty(noPort, "name", { value: "listen" });
      return QuicEndpoint;
    },
  });

  Deno.serve = Object.defineProperty(served, "name", { value: "serve" });
  // For `node_servers.js`.
  Deno[internal].servers = { claim, PORT };
  return (path) => {
    socket = path;
    return serveDefault;
  };
})()
