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
  ["assets-api", "a single-page application with an API", { "wrangler.jsonc": '{"name": "x", "main": "worker/index.ts", "compatibility_date": "2025-09-01", "assets": {"directory": "./dist", "not_found_handling": "single-page-application", "run_worker_first": ["/api/*"]}}', "dist/index.html": "<h1>app</h1>\n", "dist/assets/a.js": "1;\n", "worker/index.ts": worker('return Response.json({ path: new URL(request.url).pathname });') }, ["/", "/assets/a.js", "/api/x", { path: "/deep/link", headers: { accept: "text/html", "sec-fetch-mode": "navigate" } }]],
  ["redirects", "redirects, cookies and headers", { "wrangler.toml": toml(), "src/index.ts": worker('const url = new URL(request.url);\n    if (url.pathname === "/go") return Response.redirect(new URL("/there", url), 301);\n    const headers = new Headers({ "x-a": "1" });\n    headers.append("set-cookie", "a=1");\n    headers.append("set-cookie", "b=2; HttpOnly");\n    return new Response(request.method + " " + (await request.text()), { headers, status: 201 });') }, ["/go", { method: "PUT", path: "/x", body: "text" }]],
  ["streams", "TransformStream and TextEncoderStream", { "wrangler.toml": toml(), "src/index.ts": worker('const { readable, writable } = new TransformStream();\n    const writer = writable.getWriter();\n    const text = new TextEncoder();\n    ctx.waitUntil((async () => {\n      for (const word of ["one ", "two ", "three"]) await writer.write(text.encode(word));\n      await writer.close();\n    })());\n    return new Response(readable, { headers: { "content-type": "text/plain" } });') }],
  ["itty", "itty-router", { "wrangler.toml": toml(), "src/index.ts": 'import { AutoRouter } from "itty-router";\nconst router = AutoRouter();\nrouter.get("/hello/:name", ({ params }) => ({ hello: params.name }));\nexport default router;\n' }, ["/hello/ada", "/none"], ["itty-router"]],
  ["jose", "jose and zod", { "wrangler.toml": toml(), "src/index.ts": 'import { SignJWT, jwtVerify } from "jose";\nimport { z } from "zod";\nconst key = new TextEncoder().encode("a secret of thirty-two characters");\n' + worker('const token = await new SignJWT({ a: 1 }).setProtectedHeader({ alg: "HS256" }).sign(key);\n    const { payload } = await jwtVerify(token, key);\n    return Response.json([z.object({ a: z.number() }).parse(payload), token]);') }, ["/"], ["jose", "zod"]],
  ["hono-jsx", "Hono with JSX", { "wrangler.toml": toml().replace("index.ts", "index.tsx"), "tsconfig.json": '{"compilerOptions": {"jsx": "react-jsx", "jsxImportSource": "hono/jsx", "moduleResolution": "bundler"}}', "src/index.tsx": 'import { Hono } from "hono";\nconst app = new Hono();\napp.get("/", (c) => c.html(<p class="x">{c.req.path}</p>));\nexport default app;\n' }, ["/"], ["hono"]],
  ["environment", "an environment that is not named", { "wrangler.toml": toml('[vars]\nA = "top"\n[env.production.vars]\nA = "production"\n'), "src/index.ts": worker("return new Response(env.A);") }],
  ["kv-namespace", "a KV namespace", { "wrangler.toml": toml('[[kv_namespaces]]\nbinding = "KV"\nid = "x"\n'), "src/index.ts": worker('await env.KV.put("a", "b");\n    return new Response(await env.KV.get("a"));') }],
];

const templates = [
  ["hello-world/ts", ["/"]],
  ["hello-world/js", ["/"]],
  ["hello-world-with-assets/ts", ["/", "/message", "/none"]],
  ["hello-world-assets-only/templates", ["/", "/none"]],
  ["common/ts", ["/", "/redirect", "/none"], { packages: ["itty-router"] }],
  ["scheduled/ts", ["/"]],
  ["openapi/ts", ["/openapi.json", "/api/tasks", "/api/tasks/x"], { build: [["npm", "install", "--omit=dev", "--no-audit", "--no-fund", "--silent"]] }],
  ["queues/ts", ["/"]],
  ["hello-world-durable-object/ts", ["/"]],
];

// Products of Cloudflare's that do not exist here.
const EXPECTED = {
  "template-hello-world-assets-only": "a path without a file is answered with 404 and a line of text, as by all static sites; Cloudflare's 404 has no body",
  "worker-html-rewriter": "HTMLRewriter is not part of it: the log names packages that bring it",
  "worker-kv-namespace": "bindings to Cloudflare's products fail the build by name",
  "template-queues": "bindings to Cloudflare's products fail the build by name",
  "template-hello-world-durable-object": "bindings to Cloudflare's products fail the build by name",
};

const written = table.map(([name, title, files, requests = ["/"], packages]) => ({
  name: `worker-${name}`,
  group: "Cloudflare Workers",
  title,
  files: packages ? { "package.json": '{"name":"x","private":true,"type":"module"}', ...files } : files,
  packages,
  requests,
}));

const made = templates.map(([template, requests, more]) => ({
  name: `template-${template.replace(/\/(ts|templates)$/, "").replace("/", "-")}`,
  group: "Cloudflare Workers",
  title: `create-cloudflare's ${template.replace("/templates", "")}`,
  template,
  requests,
  ...more,
}));

export default [...written, ...made].map((one) => ({ ...one, peer: "wrangler", expected: EXPECTED[one.name] }));
