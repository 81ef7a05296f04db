// Cloudflare's Workers, as wrangler lays them out. Asked of wrangler dev too.
const toml = (more = "") => `name = "x"\nmain = "src/index.ts"\ncompatibility_date = "2025-09-01"\n${more}`;
const worker = (body) => `export default {\n  async fetch(request, env, ctx) {\n    ${body}\n  },\n};\n`;

const table = [
  ["hello", "hello world", { "wrangler.toml": toml(), "src/index.ts": worker('return new Response("hello " + new URL(request.url).pathname);') }, ["/", "/a?b=1"]],
  ["jsonc", "wrangler.jsonc", { "wrangler.jsonc": '{\n  // why\n  "name": "x",\n  "main": "src/index.ts",\n  "compatibility_date": "2025-09-01",\n}\n', "src/index.ts": worker('return Response.json({ url: request.url });') }],
  ["vars", "vars in env", { "wrangler.toml": toml('[vars]\nGREETING = "hi"\nNUMBER = 7\nOBJECT = { a = [1, 2] }\n'), "src/index.ts": worker("return Response.json([env.GREETING, env.NUMBER, env.OBJECT, env.MISSING ?? null]);") }],
  ["wait-until", "ctx.waitUntil and passThroughOnException", { "wrangler.toml": toml(), "src/index.ts": worker('ctx.passThroughOnException();\n    ctx.waitUntil(Promise.resolve());\n    return new Response("waits");') }],
  ["modules", "text and JSON modules, imports without extensions", { "wrangler.toml": toml(), "src/index.ts": 'import page from "./page.html";\nimport query from "./query.sql";\nimport data from "./data.json";\nimport { name } from "./lib";\n' + worker("return Response.json([page, query, data, name]);"), "src/page.html": "<p>page</p>\n", "src/query.sql": "select 1;\n", "src/data.json": '{"a": 1}', "src/lib.ts": 'export const name: string = "lib";\n' }],
  ["node-compat", "nodejs_compat", { "wrangler.toml": toml('compatibility_flags = ["nodejs_compat"]\n[vars]\nA = "b"\n'), "src/index.ts": 'import { Buffer } from "node:buffer";\nimport { createHash } from "node:crypto";\n' + worker('return Response.json([Buffer.from("a").toString("hex"), createHash("md5").update("a").digest("hex"), process.env.A]);') }],
  ["assets", "assets in front of a Worker", { "wrangler.toml": toml('[assets]\ndirectory = "./public"\nbinding = "ASSETS"\n'), "public/index.html": "<h1>index</h1>\n", "public/about.html": "<h1>about</h1>\n", "src/index.ts": worker('if (new URL(request.url).pathname === "/api") return new Response("api");\n    return env.ASSETS.fetch(request);') }, ["/", "/about", "/about.html", "/api", "/none"]],
  ["assets-only", "assets alone", { "wrangler.toml": 'name = "x"\ncompatibility_date = "2025-09-01"\n[assets]\ndirectory = "./dist"\nnot_found_handling = "single-page-application"\n', "dist/index.html": "<h1>app</h1>\n", "dist/a.txt": "a\n" }, ["/", "/a.txt", { path: "/deep/link", headers: { accept: "text/html", "sec-fetch-mode": "navigate" } }]],
  ["cache", "caches.default", { "wrangler.toml": toml(), "src/index.ts": worker('const cache = caches.default;\n    const found = await cache.match(request);\n    if (found) return new Response("cached " + await found.text());\n    const fresh = new Response("fresh", { headers: { "cache-control": "max-age=60" } });\n    await cache.put(request, fresh.clone());\n    return fresh;') }, ["/a", "/b"]],
  ["entrypoint", "a WorkerEntrypoint class and cloudflare:workers", { "wrangler.toml": toml('[vars]\nA = "b"\n'), "src/index.ts": 'import { WorkerEntrypoint, env } from "cloudflare:workers";\nexport default class extends WorkerEntrypoint {\n  async fetch(request) {\n    return Response.json([this.env.A, env.A, new URL(request.url).pathname]);\n  }\n}\n' }, ["/x"]],
  ["service-worker", "service-worker syntax", { "wrangler.toml": toml().replace("src/index.ts", "index.js"), "index.js": 'addEventListener("fetch", (event) => event.respondWith(new Response("classic " + new URL(event.request.url).pathname)));\n' }, ["/x"]],
  ["hono", "Hono", { "wrangler.toml": toml(), "src/index.ts": 'import { Hono } from "hono";\nconst app = new Hono();\napp.get("/", (c) => c.text(c.env.A ?? "none"));\napp.get("/hello/:name", (c) => c.json({ name: c.req.param("name") }));\nexport default app;\n' }, ["/", "/hello/ada", "/none"], ["hono"]],
  ["scheduled", "a scheduled handler beside fetch", { "wrangler.toml": toml('[triggers]\ncrons = ["*/5 * * * *"]\n'), "src/index.ts": 'export default {\n  async fetch() { return new Response("serves"); },\n  async scheduled(event, env, ctx) { ctx.waitUntil(Promise.resolve()); },\n};\n' }],
  ["html-rewriter", "HTMLRewriter", { "wrangler.toml": toml(), "src/index.ts": worker('return new HTMLRewriter().on("a", { element(e) { e.setAttribute("href", "/x"); } }).transform(new Response("<a href=y>z</a>", { headers: { "content-type": "text/html" } }));') }],
];

export default table.map(([name, title, files, requests = ["/"], packages]) => ({
  name: `worker-${name}`,
  group: "Cloudflare Workers",
  title,
  files: packages ? { "package.json": '{"name":"x","private":true,"type":"module"}', ...files } : files,
  packages,
  peer: "wrangler",
  requests,
}));
