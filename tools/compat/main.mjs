// Runs projects as their authors write them, by a real router and by a peer, and compares the answers: docs/compatibility.md.
// Arguments are names of cases or groups; without any, all are run and the table is written.
import http from "node:http";
import { once } from "node:events";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import cases from "./cases.mjs";
import { ask, comparable, difference } from "./lib/http.mjs";
import { startPeer } from "./lib/peers.mjs";
import { run } from "./lib/process.mjs";
import { report } from "./lib/report.mjs";
import { startRouter } from "./lib/router.mjs";
import { reached } from "./lib/reached.mjs";

const HERE = import.meta.dirname;
const ROOT = join(HERE, "../..");
const WORK = join(ROOT, "target/compat");
const TABLE = join(ROOT, "docs/compatibility.md");
const TOOLS = join(ROOT, "target/tools/node_modules/.bin");
const ROUTER = join(ROOT, "target/release/switchyard-router");

// What was last started is ended first.
const ends = [];

// Lays out the files of a case, installs its packages and builds it. `root` is the folder that a router serves.
async function make(root, one) {
  const folder = join(root, one.name);
  if (one.from) await cp(join(HERE, "projects", one.from), folder, { recursive: true });
  await mkdir(folder, { recursive: true });
  for (const [path, text] of Object.entries(one.files ?? {})) {
    const file = join(folder, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text, { mode: one.executable?.includes(path) ? 0o755 : 0o644 });
  }
  if (one.packages) await install(folder, one);
  for (const [command, ...args] of one.build ?? []) await run(command, args, { cwd: folder, env: { ...process.env, CI: "1", ...one.buildEnv } });
  return { folder, title: one.title ?? (await versions(folder, one)) };
}

async function install(folder, { packages, flags = [], files = {} }) {
  if (!("package.json" in files)) {
    await writeFile(join(folder, "package.json"), JSON.stringify({ name: "compat", private: true, type: "module" }));
  }
  const wanted = packages.map((name) => (name.lastIndexOf("@") > 0 ? name : `${name}@latest`));
  const quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--silent", "--prefer-offline"];
  await run("npm", ["install", ...quiet, ...flags, ...wanted], { cwd: folder });
}

async function versions(folder, { packages, name }) {
  if (!packages) return name;
  const all = packages.map(async (wanted) => {
    const plain = wanted.replace(/(.)@.*$/, "$1");
    const { version } = JSON.parse(await readFile(join(folder, "node_modules", plain, "package.json"), "utf8"));
    return `${plain} ${version}`;
  });
  return (await Promise.all(all)).join(", ");
}

// Where projects that ask others ask: it says what it was asked.
async function startUpstream() {
  const server = http.createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    response.statusCode = request.url === "/404" ? 404 : 200;
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ method: request.method, body }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ends.push(() => (server.closeAllConnections(), server.close()));
  return `http://127.0.0.1:${server.address().port}`;
}

function policy(upstream, all) {
  const lines = [`[defaults.permissions]\nprivate_net = ["${new URL(upstream).host}"]\n[defaults.env]\nUPSTREAM = "${upstream}"`];
  for (const { name, env } of all.filter(({ env }) => env)) {
    lines.push(`[projects.${name}.env]`, ...Object.entries(env).map(([key, value]) => `${key} = ${JSON.stringify(value)}`));
  }
  return lines.join("\n");
}

// The answers to all requests of a case, in their order: of the router or of a peer.
async function answers(port, { host, requests, mask }, prefix = "") {
  const all = [];
  for (const asked of requests) {
    const { path, ...rest } = typeof asked === "string" ? { path: asked } : asked;
    all.push(comparable(await ask(port, host, { ...rest, path: prefix + path }), mask));
  }
  return all;
}

function firstDifference(here, there, { requests }) {
  for (const [index, answer] of here.entries()) {
    const differs = difference(answer, there[index]);
    if (differs !== null) return `${requests[index].path ?? requests[index]}: ${differs}`;
  }
  return null;
}

const shown = (error) => String(error.cause?.message ?? error.message).replaceAll(ROOT, "").trim().split("\n")[0].slice(0, 240);

// Asks one case of the router and of its peer.
async function compare(router, upstream, one, folder) {
  // With a prefix a project is found by its path alone.
  const host = one.prefix ? "functions.example.com" : `${one.name}.localhost:8000`;
  const requests = one.requests ?? ["/"];
  const asked = { host, requests, mask: one.mask };
  let there, peerReason = null;
  if (one.peer !== undefined) {
    const env = { UPSTREAM: upstream, ...one.env, ...one.peerEnv };
    const peer = startPeer(TOOLS, { ...one, env }, one.peerFolder ? join(folder, one.peerFolder) : folder);
    try {
      const { port, end, output } = await peer;
      try {
        if (one.check) await one.check(reached(`127.0.0.1:${port}`, undefined, async () => output()));
        else there = await answers(port, asked);
      } finally {
        await end();
      }
    } catch (error) {
      peerReason = shown(error);
    }
  }
  const status = await router.status(one.name);
  if (status.error) return { reason: shown(status.error), peerReason };
  try {
    if (one.check) {
      await one.check(reached(router.listen, host, () => router.printed(one.name)));
      return { reason: null, peerReason };
    }
    const here = await answers(router.port, asked, one.prefix);
    there ??= one.expected ?? here.map(() => ({ status: "nothing to compare with", headers: {}, body: "" }));
    return { reason: peerReason === null ? firstDifference(here, there, { requests }) : "not compared", peerReason };
  } catch (error) {
    return { reason: shown(error), peerReason };
  }
}

async function main(only) {
  const chosen = cases.filter(({ name, group }) => only.length === 0 || only.includes(name) || only.includes(group));
  if (chosen.length === 0) throw new Error(`no such case or group: ${only.join(", ")}`);
  const twice = cases.find(({ name }, at) => cases.findIndex((other) => other.name === name) !== at);
  if (twice) throw new Error(`two cases are called ${twice.name}`);
  await rm(WORK, { recursive: true, force: true });
  const upstream = await startUpstream();
  const results = [];
  for (const root of new Set(chosen.map(({ root = "projects" }) => root))) {
    const here = chosen.filter((one) => (one.root ?? "projects") === root);
    const projects = join(WORK, root);
    await mkdir(projects, { recursive: true });
    for (const [path, text] of Object.entries(cases.roots[root] ?? {})) {
      await mkdir(dirname(join(projects, path)), { recursive: true });
      await writeFile(join(projects, path), text);
    }
    const made = [];
    for (const one of here) {
      console.error(`making ${one.name}`);
      try {
        made.push({ one, ...(await make(projects, one)) });
      } catch (error) {
        await rm(join(projects, one.name), { recursive: true, force: true });
        const reason = `not made: ${shown(error)}`;
        console.error(`${one.name}: ${reason}`);
        results.push({ ...one, title: one.title ?? one.name, requests: 0, reason, skipped: true });
      }
    }
    const router = await startRouter(ROUTER, projects, policy(upstream, here));
    ends.push(router.end);
    for (const { one, folder, title } of made) {
      const result = await compare(router, upstream, one, folder);
      results.push({ ...one, ...result, title, requests: one.check ? 1 : (one.requests ?? ["/"]).length });
      console.error(`${one.name}: ${result.reason ?? "same"}${result.peerReason ? ` (the peer: ${result.peerReason})` : ""}`);
    }
    await ends.pop()();
  }
  const order = (one) => cases.findIndex(({ name }) => name === one.name);
  results.sort((one, other) => order(one) - order(other));
  const deno = (await run(join(TOOLS, "deno"), ["--version"])).stdout.split(" ")[1];
  const own = /DENO_VERSION: &str = "([^"]+)"/.exec(await readFile(join(ROOT, "router/cell/src/runtime.rs"), "utf8"))[1];
  const text = report(results, { date: new Date().toISOString().slice(0, 10), deno, own, node: process.versions.node });
  console.log(text);
  if (only.length === 0) await writeFile(TABLE, text);
}

try {
  await main(process.argv.slice(2));
} finally {
  for (const end of ends.reverse()) await end();
}
