// Programs that are started and ended, and things that are waited for.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { atEnd } from "./cleanup.mjs";
import { PATIENCE } from "./http.mjs";

const execute = promisify(execFile);

// What a command may print: 64 MiB.
const MAX_OUTPUT = 64 << 20;

// Runs a command to its end, within `minutes`.
export async function run(command, args, { minutes = 10, ...options } = {}) {
  try {
    return await execute(command, args, { maxBuffer: MAX_OUTPUT, timeout: minutes * 60_000, ...options });
  } catch (error) {
    const last = `${error.stdout ?? ""}\n${error.stderr ?? ""}`.trim().split("\n").slice(-6).join(" / ");
    throw new Error(`${[command, ...args].join(" ")}: ${error.killed ? "took too long" : last || error.message}`);
  }
}

export async function eventually(what, ask, patience = PATIENCE) {
  for (const end = Date.now() + patience; Date.now() < end; await sleep(100)) {
    if (await ask().catch(() => false)) return;
  }
  throw new Error(`not in time: ${what}`);
}

export async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

// Starts a program in a process group of its own. `end` ends all of it, `output` is what it has printed.
export function start(command, args, options) {
  const child = spawn(command, args, { ...options, stdio: ["ignore", "pipe", "pipe"], detached: true });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output = (output + data).slice(-20_000)));
  const ended = new Promise((done) => child.once("close", done).once("error", done));
  let isOver = false;
  const kill = () => {
    try {
      if (!isOver) process.kill(-child.pid, "SIGKILL");
    } catch {
      // It has just ended.
    }
  };
  const forget = atEnd(kill);
  ended.then(() => (isOver = true)).then(forget);
  return {
    output: () => output,
    ended,
    async end() {
      kill();
      await ended;
    },
  };
}

// Whether somebody listens on a port of 127.0.0.1.
export function listens(port) {
  return new Promise((done) => {
    const socket = net.connect(port, "127.0.0.1");
    socket.once("connect", () => (socket.destroy(), done(true)));
    socket.once("error", () => done(false));
  });
}
