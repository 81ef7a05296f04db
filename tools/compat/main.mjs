// Runs projects as their authors write them, by a real router and by a peer, and compares the answers: docs/compatibility.md.
//
// Arguments are names of cases or groups; without any, all are run and docs/compatibility.md is written. With `--check` nothing is
// written, and the exit status is 1 when a case differs that is not expected to, or cannot be compared.
import http from "node:http";
import { once } from "node:events";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import cases from "./cases.mjs";
import { ask, comparable, difference } from "./lib/http.mjs";
import { startPeer } from "./lib/peers.mjs";
import { run } from "./lib/process.mjs";
import { report, unexpected } from "./lib/report.mjs";
import { startRouter } from "./lib/router.mjs";
import { reached } from "./lib/reached.mjs";

const HERE = import.meta.dirname;
const ROOT = join(HERE, "../..");
const WORK = join(ROOT, "target/compat");
// Of peers that need what the router's folder does not have.
const PEERS = join(WORK, "peers");
const TABLE = join(ROOT, "docs/compatibility.md");
const TOOLS = join(ROOT, "target/tools/node_modules/.bin");
// Projects of one router: frameworks have a quarter of a gigabyte of packages each.
const BATCH = 12;
const ROUTER = join(ROOT, "target/release/switchyard");

// What was last started is ended first.
const ends = [];

// Lays out the files of a case, installs its packages and builds it in the folder of its name below `root`, which a router serves.
// Gives that folder, and the one that the peer runs.
async function make(root, one) {
  const folder = join(root, one.name);
  await mkdir(folder, { recursive: true });
  if (one.from) await cp(join(HERE, "projects", one.from), folder, { recursive: true });
  for (const [source, target] of one.copy ?? []) await cp(join(root, one.of, source), join(folder, target), { recursive: true, verbatimSymlinks: true });
  for (const [path, text] of Object.entries(one.files ?? {})) {
    const file = join(folder, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, text);
  }
  if (one.template) await copyTemplate(join(TOOLS, "../create-cloudflare/templates", one.template), folder);
  if (one.packages) await install(folder, one);
  const env = { ...process.env, CI: "1", ...one.buildEnv };
  for (const [command, ...args] of one.build ?? []) await run(command, args, { cwd: folder, env });
  const peerFolder = one.peerBuild ? join(PEERS, one.name) : folder;
  if (one.peerBuild) {
    await cp(folder, peerFolder, { recursive: true });
    for (const [command, ...args] of one.peerBuild) await run(command, args, { cwd: peerFolder, env });
  }
  return { peerFolder, title: one.title ?? (await versions(folder, one)) };
}

async function install(folder, { packages, flags = [], files = {}, scripts = false }) {
  if (!("package.json" in files)) {
    await writeFile(join(folder, "package.json"), JSON.stringify({ name: "compat", private: true, type: "module" }));
  }
  const wanted = packages.map((name) => (name.lastIndexOf("@") > 0 ? name : `${name}@latest`));
  const quiet = ["--no-audit", "--no-fund", "--silent", "--prefer-offline", ...(scripts ? [] : ["--ignore-scripts"])];
  await run("npm", ["install", ...quiet, ...flags, ...wanted], { cwd: folder });
}

// Does what create-cloudflare does with one of its templates.
async function copyTemplate(template, folder) {
  await cp(template, folder, { recursive: true });
  const values = { WORKER_NAME: "x", PACKAGE_NAME: "x", COMPATIBILITY_DATE: "2025-09-01" };
  for (const name of ["wrangler.jsonc", "package.json"]) {
    const text = await readFile(join(folder, name), "utf8");
    await writeFile(join(folder, name), text.replace(/<([A-Z_]+)>/g, (all, key) => values[key] ?? all));
  }
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

// Paths of this machine; the table is read on others.
const OWN_PATHS = new RegExp(`${RegExp.escape?.(ROOT) ?? ROOT}|${tmpdir()}/compat-\\w+|https?://[^/ ]*(?=/[@\\w.-]+/-/)`, "g");

const shown = (error) => String(error.cause?.message ?? error.message).replace(OWN_PATHS, "").trim().split("\n")[0].slice(0, 400);

// Asks one case of the router and of its peer, which runs `folder`.
async function compare(router, upstream, one, folder) {
  // With a prefix a project is found by its path alone.
  const host = one.prefix ? "functions.example.com" : `${one.name}.localhost:8000`;
  const requests = one.requests ?? ["/"];
  const asked = { host, requests, mask: one.mask };
  let there, peerReason = null;
  if (one.peer !== undefined) {
    const env = { UPSTREAM: upstream, ...one.env };
    const peer = startPeer(TOOLS, { ...one, env }, folder);
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
    there ??= one.answers ?? here.map(() => ({ status: "nothing to compare with", headers: {}, body: "" }));
    return { reason: peerReason === null ? firstDifference(here, there, { requests }) : "not compared", peerReason };
  } catch (error) {
    return { reason: shown(error), peerReason };
  }
}

// The cases that the arguments name, and those whose output they copy.
function choose(only) {
  const named = cases.filter(({ name, group }) => only.length === 0 || only.includes(name) || only.includes(group));
  const nothing = only.find((wanted) => !cases.some(({ name, group }) => [name, group].includes(wanted)));
  if (nothing !== undefined) throw new Error(`no such case or group: ${nothing}`);
  const twice = cases.find(({ name }, at) => cases.findIndex((other) => other.name === name) !== at);
  if (twice) throw new Error(`two cases are called ${twice.name}`);
  return cases.filter((one) => named.includes(one) || named.some(({ of }) => of === one.name));
}

// Runs cases that have one projects root. Gives their results.
async function runBatch(here, upstream) {
  const { root = "projects" } = here[0];
  const projects = join(WORK, root);
  for (const [path, text] of Object.entries(cases.roots[root] ?? {})) {
    await mkdir(dirname(join(projects, path)), { recursive: true });
    await writeFile(join(projects, path), text);
  }
  const made = [];
  const results = new Map();
  for (const one of here) {
    console.error(`making ${one.name}`);
    try {
      made.push({ one, ...(await make(projects, one)) });
    } catch (error) {
      await rm(join(projects, one.name), { recursive: true, force: true });
      const reason = `not made: ${shown(error)}`;
      console.error(`${one.name}: ${reason}`);
      results.set(one, { ...one, title: one.title ?? one.packages?.join(", ") ?? one.name, requests: 0, reason, skipped: true });
    }
  }
  const router = await startRouter(ROUTER, projects, policy(upstream, here));
  ends.push(router.end);
  for (const { one, peerFolder, title } of made) {
    const result = await compare(router, upstream, one, peerFolder);
    results.set(one, { ...one, ...result, title, requests: one.check ? 1 : (one.requests ?? ["/"]).length });
    console.error(`${one.name}: ${result.reason ?? "same"}${result.peerReason ? ` (the peer: ${result.peerReason})` : ""}`);
  }
  await ends.pop()();
  await rm(WORK, { recursive: true, force: true });
  return here.map((one) => results.get(one));
}

// Cases that are served by one router, so that their packages are not all on the disk at once. A copy stays with what it copies.
function batches(chosen) {
  const all = [];
  for (const one of chosen) {
    const last = all.at(-1);
    const belongs = last !== undefined && last[0].group === one.group && (last.length < BATCH || one.of !== undefined);
    if (belongs) last.push(one);
    else all.push([one]);
  }
  return all;
}

async function table(results) {
  const deno = (await run(join(TOOLS, "deno"), ["--version"])).stdout.split(" ")[1];
  const own = /DENO_VERSION: &str = "([^"]+)"/.exec(await readFile(join(ROOT, "router/protocol/src/runtime.rs"), "utf8"))[1];
  return report(results, { date: new Date().toISOString().slice(0, 10), deno, own, node: process.versions.node });
}

async function main(args) {
  const only = args.filter((arg) => arg !== "--check");
  const chosen = choose(only);
  await rm(WORK, { recursive: true, force: true });
  const upstream = await startUpstream();
  const results = [];
  for (const batch of batches(chosen)) results.push(...(await runBatch(batch, upstream)));
  if (args.includes("--check")) {
    const wrong = results.map(unexpected).filter((line) => line !== null);
    console.log(wrong.length === 0 ? `${results.length} projects answer as expected` : wrong.join("\n"));
    process.exitCode = wrong.length === 0 ? 0 : 1;
    return;
  }
  const text = await table(results);
  console.log(text);
  if (only.length === 0) await writeFile(TABLE, text);
}

try {
  await main(process.argv.slice(2));
} finally {
  for (const end of ends.reverse()) await end();
}
