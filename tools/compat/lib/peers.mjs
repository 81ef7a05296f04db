// The peers: the same files run by Node, by stock Deno, or by wrangler.
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atEnd } from "./cleanup.mjs";
import { eventually, freePort, listens, start } from "./process.mjs";

// Of a start, wrangler's the longest: 60 seconds.
const PATIENCE = 60_000;

const FLAGS = ["--allow-net", "--allow-read", "--allow-write", "--allow-env", "--allow-sys", "--allow-import", "--unstable-kv"];

// The command of each kind of peer. `args`: the entry, with its arguments.
const COMMANDS = {
  node: (tools, args) => [process.execPath, args],
  deno: (tools, args) => [join(tools, "deno"), ["run", ...FLAGS, ...args]],
  "deno-serve": (tools, args, port) => [join(tools, "deno"), ["serve", ...FLAGS, "--port", String(port), "--host", "127.0.0.1", ...args]],
  // A host of static files, with the folder that the build has made.
  statics: (tools, args, port) => [join(tools, "serve"), ["--listen", `tcp://127.0.0.1:${port}`, "--no-clipboard", "--no-port-switching", ...args]],
  wrangler: (tools, args, port) => [join(tools, "wrangler"), ["dev", "--port", String(port), "--ip", "127.0.0.1", "--show-interactive-dev-session=false", ...args]],
};

// Starts the peer of a case in its folder. Gives its port, and how it is ended.
export async function startPeer(tools, { peer, entry = [], port: fixed, env = {} }, folder) {
  const data = await mkdtemp(join(tmpdir(), "compat-"));
  const forget = atEnd(() => rmSync(data, { recursive: true, force: true }));
  const port = fixed ?? (await freePort());
  const [command, args] = COMMANDS[peer](tools, entry, port);
  const variables = {
    ...process.env,
    NODE_ENV: "production",
    HOST: "127.0.0.1",
    PORT: String(port),
    DATA_DIR: data,
    TMPDIR: data,
    DENO_DIR: join(data, "deno"),
    NO_COLOR: "1",
    WRANGLER_SEND_METRICS: "false",
    CI: "1",
    ...(peer === "deno" && fixed === undefined ? { DENO_SERVE_ADDRESS: `tcp:127.0.0.1:${port}` } : {}),
    ...env,
  };
  const program = start(command, args, { cwd: folder, env: variables });
  const end = async () => {
    await program.end();
    await rm(data, { recursive: true, force: true });
    forget();
  };
  const fails = program.ended.then(() => Promise.reject(new Error(`it ended: ${program.output().trim().split("\n").slice(-4).join(" / ")}`)));
  fails.catch(() => {});
  try {
    await Promise.race([eventually(`it listens: ${program.output().slice(-200)}`, () => listens(port), PATIENCE), fails]);
  } catch (error) {
    await end();
    throw error;
  }
  return { port, end, output: program.output };
}
