// @ts-check
// Addresses of Node's servers: those that `listen` is called with, and those that are shown.

import { core, internals, primordials } from "ext:core/mod.js";

const { Number, NumberIsInteger, NumberIsNaN } = primordials;
const net = core.loadExtScript("ext:deno_node/net.ts").default;

// The ports that systems choose from for servers that leave the choice to them (RFC 6335).
const FIRST_FREE_PORT = 49152;
const LAST_PORT = 65535;
let lastFreePort = LAST_PORT;

// Parses the first arguments of `listen`: `(options)`, `(path)` or `(port, host)`, each with more
// arguments behind.
export function parseListenArguments(first, second) {
  if (typeof first === "object" && first !== null) return { ...first, ...portsOf(first.port) };
  if (typeof first === "string" && NumberIsNaN(Number(first))) return { path: first };
  return { ...portsOf(first), host: typeof second === "string" ? second : undefined };
}

// Returns the port that is shown, and the port by which a server is chosen: undefined if the system
// chooses.
function portsOf(port) {
  const named = Number(port) || undefined;
  return { port: named ?? internals.servers?.PORT, chosenPort: named };
}

export function addressOf({ path, port, host }) {
  if (path !== undefined) return path;
  const address = !host ? "::" : net.isIP(host) ? host : "127.0.0.1";
  return { address, family: net.isIPv6(address) ? "IPv6" : "IPv4", port };
}

// Returns the address that a client of this family has connected to. For a server that listens on
// all addresses it is that of loopback.
export function localAddressOf({ path, port, host }, remoteFamily) {
  if (path !== undefined) return {};
  const isAny = !net.isIP(host) || host === "::" || host === "0.0.0.0";
  const localAddress = !isAny ? host : remoteFamily === "IPv6" ? "::1" : "127.0.0.1";
  return { localAddress, localPort: port, localFamily: net.isIPv6(localAddress) ? "IPv6" : "IPv4" };
}

// Returns the TCP port, host and signal that a server without HTTP asks for. Undefined if it asks
// for something else, or for an invalid port, for which node:net reports an error.
export function parseTcpArguments(first, second) {
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

// Returns a port in place of one that the system would choose, and not the same one soon again.
function freePort() {
  lastFreePort = lastFreePort === LAST_PORT ? FIRST_FREE_PORT : lastFreePort + 1;
  return lastFreePort;
}
