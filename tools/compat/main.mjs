// Installs the newest of well-known packages, runs each as a project of a real router, asks it, and writes what came of
// it to docs/compatibility.md. What fails is asked of stock Deno too, with the same code.
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import checks from "./checks.mjs";

const run = promisify(execFile);
const HERE = import.meta.dirname;
const ROOT = join(HERE, "../..");
const PROJECTS = join(ROOT, "target/compat");
const TABLE = join(ROOT, "docs/compatibility.md");
const DENO = join(ROOT, "target/tools/node_modules/.bin/deno");
// Of one request, and of one thing that is waited for.
const PATIENCE = 20_000;

// What was last started is ended first.
const ends = [];

async function install(name, { packages, flags = [] }) {
  const folder = join(PROJECTS, name);
  await rm(folder, { recursive: true, force: true });
  await cp(join(HERE, "projects", name), folder, { recursive: true });
  await writeFile(join(folder, "package.json"), JSON.stringify({ name: `compat-${name}`, private: true, type: "module" }));
  const wanted = packages.map((name) => (name.lastIndexOf("@") > 0 ? name : `${name}@latest`));
  await run("npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", ...flags, ...wanted], { cwd: folder });
  const versions = packages.map(async (name) => {
    const plain = name.replace(/(.)@.*$/, "$1");
    const { version } = JSON.parse(await readFile(join(folder, "node_modules", plain, "package.json"), "utf8"));
    return `${plain} ${version}`;
  });
  return Promise.all(versions);
}

// Where projects that ask others ask: it tells what it was asked.
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

async function startRouter(upstream) {
  const state = await mkdtemp(join(tmpdir(), "compat-"));
  ends.push(() => rm(state, { recursive: true, force: true }));
  const policy = join(state, "policy.toml");
  const reach = new URL(upstream).host;
  const granted = Object.entries(checks).filter(([, { sys }]) => sys);
  const lines = [
    `[defaults.permissions]\nprivate_net = ["${reach}"]\n[defaults.env]\nUPSTREAM = "${upstream}"`,
    ...granted.map(([name, { sys }]) => `[projects.${name}.permissions]\nsys = ${JSON.stringify(sys)}\nprivate_net = []`),
  ];
  await writeFile(policy, lines.join("\n"));
  const flags = ["--projects", PROJECTS, "--state", join(state, "state"), "--policy", policy];
  flags.push("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log-format", "json", "--build-timeout", "30000");
  const router = spawn(join(ROOT, "target/release/switchyard-router"), flags, { stdio: ["ignore", "ignore", "pipe"] });
  ends.push(() => router.kill() && once(router, "exit"));
  for await (const line of createInterface(router.stderr)) {
    const { message, listen, admin } = JSON.parse(line);
    if (message !== "listening") continue;
    router.stderr.resume();
    const ready = async () => (await fetch(`http://${admin}/readyz`)).ok;
    await eventually("the router is ready", ready, 300_000);
    return { listen, admin };
  }
  throw new Error("the router ended before it listened");
}

async function eventually(what, ask, patience = PATIENCE) {
  for (const end = Date.now() + patience; Date.now() < end; await sleep(100)) {
    if (await ask().catch(() => false)) return;
  }
  throw new Error(`not in time: ${what}`);
}

// What a check talks to.
function reached(host, prefix, printed) {
  const ask = (path, init = {}) => fetch(`http://${host}${prefix}${path}`, { signal: AbortSignal.timeout(PATIENCE), ...init });
  return {
    ask,
    printed,
    get: (path) => ask(path),
    post: (path, body) =>
      ask(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
    socket: (path) => openSocket(`ws://${host}${prefix}${path}`),
  };
}

async function openSocket(url) {
  const socket = new WebSocket(url);
  const [came, waiting] = [[], []];
  socket.onmessage = ({ data }) => (waiting.shift() ?? ((data) => came.push(data)))(data);
  const next = () => (came.length > 0 ? came.shift() : new Promise((done) => waiting.push(done)));
  const inTime = (promise) => Promise.race([promise, sleep(PATIENCE, null, { ref: false }).then(() => Promise.reject(new Error("the socket is silent")))]);
  await inTime(new Promise((done, fail) => {
    socket.onopen = done;
    socket.onerror = () => fail(new Error("the WebSocket was refused"));
  }));
  return { send: (text) => socket.send(text), next: () => inTime(Promise.resolve(next())), close: () => socket.close() };
}

// Null when it does what it has to, else why not.
async function failure(check, app) {
  try {
    await check(app);
    return null;
  } catch (error) {
    return firstLine(error.cause?.message ?? error.message);
  }
}

async function onRouter({ listen, admin }, name, { check }) {
  const project = await (await fetch(`http://${admin}/projects/${name}`)).json();
  if (project.error) return firstLine(project.error.message);
  const printed = async () => (await fetch(`http://${admin}/projects/${name}/logs`)).text();
  return failure(check, reached(listen, `/${name}`, printed));
}

async function onStockDeno(upstream, name, { check }) {
  const data = await mkdtemp(join(tmpdir(), "compat-"));
  const host = `127.0.0.1:${await freePort()}`;
  const env = { ...process.env, DENO_SERVE_ADDRESS: `tcp:${host}`, UPSTREAM: upstream, DATA_DIR: data, TMPDIR: data, PORT: "8000" };
  const flags = ["run", "--allow-all", "--node-modules-dir=manual", "main.mjs"];
  const deno = spawn(DENO, flags, { cwd: join(PROJECTS, name), env });
  let output = "";
  for (const stream of [deno.stdout, deno.stderr]) stream.on("data", (data) => (output += data));
  try {
    const listens = () => fetch(`http://${host}/`).then(() => true);
    await Promise.race([eventually("it listens", listens), once(deno, "exit").then(() => Promise.reject(new Error(output)))]);
    return await failure(check, reached(host, "", async () => output));
  } catch (error) {
    return firstLine(error.message);
  } finally {
    deno.kill("SIGKILL");
    await rm(data, { recursive: true, force: true });
  }
}

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

function firstLine(text) {
  return text.replaceAll(ROOT, "").trim().split("\n")[0].slice(0, 200);
}

function row({ versions, reason, stock, note = "" }) {
  const verdict = reason === null ? "pass" : "fail";
  const stocks = reason === null ? "" : stock === null ? "pass" : `fail: ${stock}`;
  const why = [note, reason ?? ""].filter(Boolean).join(". ");
  return `| ${versions.join(", ")} | ${verdict} | ${stocks} | ${why.replaceAll("|", "\\|")} |`;
}

async function write(rows) {
  const deno = (await run(DENO, ["--version"])).stdout.split(" ")[1];
  const own = /DENO_VERSION: &str = "([^"]+)"/.exec(await readFile(join(ROOT, "router/cell/src/runtime.rs"), "utf8"))[1];
  const passed = rows.filter(({ reason }) => reason === null).length;
  const text = `# Compatibility

Well-known packages of npm, the newest of each on ${new Date().toISOString().slice(0, 10)}, run as projects of a router (Deno ${own}) and asked over HTTP:
${passed} of ${rows.length} projects pass. What fails was run by stock Deno ${deno} with the same code. Made by \`make compat\`; what is run and
what it has to answer is in [tools/compat](../tools/compat).

| packages | here | stock Deno | |
|---|---|---|---|
${rows.map(row).join("\n")}
`;
  await mkdir(join(ROOT, "docs"), { recursive: true });
  await writeFile(TABLE, text);
  console.log(text);
}

async function main(only) {
  const chosen = Object.entries(checks).filter(([name]) => only.length === 0 || only.includes(name));
  const made = await readdir(join(HERE, "projects"));
  for (const name of made) if (!(name in checks)) throw new Error(`projects/${name} has no check`);
  await rm(PROJECTS, { recursive: true, force: true });
  const rows = [];
  for (const [name, project] of chosen) {
    console.error(`installing ${project.packages.join(", ")}`);
    rows.push({ name, ...project, versions: await install(name, project) });
  }
  const upstream = await startUpstream();
  const router = await startRouter(upstream);
  for (const project of rows) {
    project.reason = await onRouter(router, project.name, project);
    if (project.reason !== null) project.stock = await onStockDeno(upstream, project.name, project);
    console.error(`${project.name}: ${project.reason ?? "pass"}`);
  }
  if (only.length === 0) await write(rows);
}

try {
  await main(process.argv.slice(2));
} finally {
  for (const end of ends.reverse()) await end();
}
