// A router that serves the cases' projects.
import { once } from "node:events";
import { spawn } from "node:child_process";
import { rmSync } from "node:fs";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { atEnd } from "./cleanup.mjs";
import { eventually, run } from "./process.mjs";

// Until all projects were read and built: 10 minutes.
const READY = 600_000;

// Starts the router on the folder `projects`, with this policy.
export async function startRouter(binary, projects, policy) {
  const state = await mkdtemp(join(tmpdir(), "compat-"));
  // The users of projects pass through it.
  await chmod(state, 0o711);
  await writeFile(join(state, "policy.toml"), policy);
  const flags = ["--projects", projects, "--state", join(state, "state"), "--policy", join(state, "policy.toml"), "--allow-install"];
  flags.push("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json", "--build-timeout", "60000", "--max-project-size", "4294967296");
  // The registry that npm has its packages from, whatever address it has.
  const { stdout: registry } = await run("npm", ["config", "get", "registry"]);
  const env = { ...process.env, NPM_CONFIG_REGISTRY: registry.trim() };
  const router = spawn(binary, ["router", ...flags], { stdio: ["ignore", "ignore", "pipe"], env });
  const forget = atEnd(() => {
    router.kill("SIGKILL");
    rmSync(state, { recursive: true, force: true });
  });
  const end = async () => {
    if (router.exitCode === null && router.signalCode === null && router.kill()) await once(router, "exit");
    await rm(state, { recursive: true, force: true });
    forget();
  };
  const log = [];
  for await (const line of createInterface(router.stderr)) {
    if (!line.startsWith("{")) throw new Error(line);
    const { message, listen, admin } = JSON.parse(line);
    if (message !== "listening") {
      log.push(message);
      continue;
    }
    router.stderr.resume();
    await eventually("the router is ready", async () => (await fetch(`http://${admin}/readyz`)).ok, READY);
    const status = async (name) => (await fetch(`http://${admin}/projects/${name}`)).json();
    const printed = async (name) => (await fetch(`http://${admin}/projects/${name}/logs`)).text();
    return { port: Number(listen.split(":")[1]), listen, status, printed, end };
  }
  await end();
  throw new Error(`the router ended before it listened: ${log.join(" / ")}`);
}
