// Deno projects, as Deno's documentation and Deno Deploy have them.
const URLS = ["/", "/a/b?c=1&d=%20", { method: "POST", path: "/p", body: "text" }];
const facts = "(request) => Response.json([request.url, request.method, new URL(request.url).origin, request.headers.get('host')])";

const table = [
  ["serve", "Deno.serve", "deno", { "main.ts": `Deno.serve(${facts});\n` }, ["main.ts"], URLS],
  ["default-fetch", "export default { fetch }", "deno-serve", { "main.ts": `export default { fetch: ${facts.replace("(request)", "(request: Request)")} };\n` }, ["main.ts"], URLS],
  ["redirect", "Response.redirect and URLPattern", "deno", { "main.ts": `const pattern = new URLPattern("http{s}?://*/hello/:name");
Deno.serve((request) => {
  const match = pattern.exec(request.url);
  if (match) return new Response("hello " + match.pathname.groups.name);
  return Response.redirect(new URL("/hello/you", request.url));
});
` }, ["main.ts"], ["/", "/hello/ada"]],
  ["cache", "the Cache API", "deno", { "main.ts": `const cache = await caches.open("x");
Deno.serve(async (request) => {
  const found = await cache.match(request);
  if (found) return new Response("cached " + await found.text());
  await cache.put(request, new Response("fresh"));
  return new Response("new");
});
` }, ["main.ts"], ["/a", "/a", "/b"]],
  ["kv", "Deno KV", "deno", { "main.ts": `const kv = await Deno.openKv();
Deno.serve(async () => {
  const { value } = await kv.get<number>(["n"]);
  await kv.set(["n"], (value ?? 0) + 1);
  return Response.json(value ?? 0);
});
` }, ["main.ts"], ["/", "/"]],
  ["imports", "an import map in deno.json", "deno", { "deno.json": '{"imports": {"@/": "./src/", "greet": "./src/greet.ts"}}', "src/greet.ts": 'export const greet = (name: string) => `hello ${name}`;\n', "src/name.ts": 'export default "ada";\n', "main.ts": 'import { greet } from "greet";\nimport name from "@/name.ts";\nDeno.serve(() => new Response(greet(name)));\n' }, ["main.ts"]],
  ["npm", "npm: imports", "deno", { "main.ts": 'import ms from "npm:ms@2.1.3";\nDeno.serve(() => new Response(ms(60000)));\n' }, ["main.ts"]],
  ["npm-lazy", "a lazy npm: import", "deno", { "main.ts": 'Deno.serve(async () => new Response((await import("npm:ms@2.1.3")).default(60000)));\n' }, ["main.ts"]],
  ["npm-mapped-lazy", "a lazy import of a name of the import map", "deno", { "deno.json": '{"imports": {"is-odd": "npm:is-odd@3.0.1"}}', "main.ts": 'Deno.serve(async () => Response.json((await import("is-odd")).default(3)));\n' }, ["main.ts"]],
  ["hono", "Hono", "deno", { "deno.json": '{"imports": {"hono": "npm:hono@4"}}', "main.ts": `import { Hono } from "hono";
import { csrf } from "hono/csrf";
import { trimTrailingSlash } from "hono/trailing-slash";
const app = new Hono();
app.use(trimTrailingSlash());
app.post("/form", csrf(), (c) => c.text("taken"));
app.get("/", (c) => c.json({ url: c.req.url }));
app.get("/hello", (c) => c.text("hello"));
Deno.serve(app.fetch);
` }, ["main.ts"], ["/", "/hello/", { method: "POST", path: "/form", headers: { "content-type": "application/x-www-form-urlencoded", origin: "http://deno-hono.localhost:8000" }, body: "a=1" }]],
  ["elysia", "Elysia", "deno-serve", { "deno.json": '{"imports": {"elysia": "npm:elysia@1"}}', "main.ts": 'import { Elysia } from "elysia";\nconst app = new Elysia().get("/", () => "elysia").get("/hello/:name", ({ params }) => "hello " + params.name);\nexport default { fetch: (request: Request) => app.fetch(request) };\n' }, ["main.ts"], ["/", "/hello/ada", "/none"]],
  ["jsx", "JSX with a pragma of deno.json", "deno", { "deno.json": '{"compilerOptions": {"jsx": "react-jsx", "jsxImportSource": "preact"}, "imports": {"preact": "npm:preact@10", "preact/": "npm:/preact@10/", "preact-render-to-string": "npm:preact-render-to-string@6"}}', "main.tsx": 'import { renderToString } from "preact-render-to-string";\nDeno.serve(() => new Response(renderToString(<p class="x">hi</p>), { headers: { "content-type": "text/html" } }));\n' }, ["main.tsx"]],
  ["json-text", "imports of JSON, text and bytes", "deno", { "main.ts": 'import data from "./data.json" with { type: "json" };\nimport text from "./note.txt" with { type: "text" };\nDeno.serve(() => Response.json([data, text]));\n', "data.json": '{"a": 1}', "note.txt": "note\n", "deno.json": '{"unstable": ["raw-imports"]}' }, ["main.ts"]],
  ["sloppy", "sloppy imports", "deno", { "deno.json": '{"unstable": ["sloppy-imports"]}', "main.ts": 'import { a } from "./lib/a";\nimport { b } from "./lib";\nDeno.serve(() => new Response(a + b));\n', "lib/a.ts": 'export const a: string = "a";\n', "lib/index.ts": 'export const b: string = "b";\n' }, ["main.ts"]],
  ["tasks-start", "deno.json's tasks.start", "deno", { "deno.json": '{"tasks": {"start": "deno run --allow-net src/app.ts"}}', "src/app.ts": 'Deno.serve(() => new Response("task"));\n' }, ["src/app.ts"]],
  ["deploy-entry", "deno.json's deploy.entrypoint", "deno", { "deno.json": '{"deploy": {"entrypoint": "api/server.ts"}}', "api/server.ts": 'Deno.serve(() => new Response("deployed"));\n' }, ["api/server.ts"]],
  ["websocket-info", "Deno.upgradeWebSocket refuses what is none", "deno", { "main.ts": 'Deno.serve((request) => {\n  try {\n    return Deno.upgradeWebSocket(request).response;\n  } catch (error) {\n    return new Response(error.name, { status: 426 });\n  }\n});\n' }, ["main.ts"]],
  ["node-in-deno", "node: modules in a Deno project", "deno", { "main.ts": 'import { createHash } from "node:crypto";\nimport { Buffer } from "node:buffer";\nimport process from "node:process";\nDeno.serve(() => Response.json([createHash("sha256").update("a").digest("hex"), Buffer.from("b").toString("base64"), typeof process.uptime()]));\n' }, ["main.ts"]],
  ["web-worker", "a web worker", "deno", { "main.ts": 'Deno.serve(() => new Promise((done) => {\n  const worker = new Worker(new URL("./worker.ts", import.meta.url).href, { type: "module" });\n  worker.onmessage = ({ data }) => (worker.terminate(), done(new Response(data)));\n}));\n', "worker.ts": 'postMessage("from a worker");\n' }, ["main.ts"]],
  ["outside", "files that are not there", "deno", { "main.ts": 'import fs from "node:fs";\nDeno.serve(async () => Response.json([fs.existsSync("/no/such/file"), fs.statSync("/no/such/file", { throwIfNoEntry: false }) ?? null, await Deno.stat("/no/such/file").catch((error) => error.name), await Deno.readTextFile("none.txt").catch((error) => error.name)]));\n' }, ["main.ts"]],
  ["errors", "an error in a handler", "deno", { "main.ts": 'Deno.serve({ onError: (error) => new Response("caught " + (error as Error).message, { status: 503 }) }, () => { throw new Error("x"); });\n' }, ["main.ts"]],
  ["streams", "a streamed body and compression", "deno", { "main.ts": 'Deno.serve((request) => new URL(request.url).pathname === "/gzip" ? new Response(new Blob(["x".repeat(10000)]).stream().pipeThrough(new CompressionStream("gzip")), { headers: { "content-encoding": "gzip" } }) : new Response(ReadableStream.from(["one ", "two"]).pipeThrough(new TextEncoderStream())));\n' }, ["main.ts"], ["/", "/gzip"]],
  ["std", "modules of npm as std", "deno", { "deno.json": '{"imports": {"cookie": "npm:cookie@1", "zod": "npm:zod@4"}}', "main.ts": 'import * as cookie from "cookie";\nimport { z } from "zod";\nDeno.serve((request) => Response.json([Object.keys(cookie).length > 0, z.string().safeParse(request.headers.get("x")).success]));\n' }, ["main.ts"]],
];

export default table.map(([name, title, peer, files, entry, requests = ["/"]]) => ({ name: `deno-${name}`, group: "Deno projects", title, files, peer, entry, requests }));
