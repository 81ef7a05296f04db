// Servers of npm, as their documentation begins. Each is asked about addresses, redirects, bodies and errors.
const json = { method: "POST", headers: { "content-type": "application/json" }, body: '{"a":[1,"ä"]}' };
const REQUESTS = ["/", "/hello/ada?x=1&y=%C3%A4", "/missing", { ...json, path: "/echo" }, { method: "OPTIONS", path: "/echo" }, { method: "HEAD", path: "/" }];

const table = [
  ["koa-router", ["koa", "@koa/router", "koa-bodyparser", "@koa/cors"], `import Koa from "koa";
import Router from "@koa/router";
import bodyParser from "koa-bodyparser";
import cors from "@koa/cors";
const app = new Koa();
const router = new Router();
router.get("/", (ctx) => (ctx.body = { url: ctx.href, host: ctx.host, protocol: ctx.protocol, origin: ctx.origin }));
router.get("/hello/:name", (ctx) => (ctx.body = \`hello \${ctx.params.name} \${ctx.query.y}\`));
router.get("/go", (ctx) => ctx.redirect("/hello/you"));
router.post("/echo", (ctx) => (ctx.body = ctx.request.body));
app.use(cors()).use(bodyParser()).use(router.routes()).use(router.allowedMethods());
app.listen(process.env.PORT || 3000);
`],
  ["express-full", ["express", "morgan", "helmet", "cors", "cookie-parser", "express-rate-limit", "method-override", "serve-favicon", "express-validator"], `import express from "express";
import morgan from "morgan";
import helmet from "helmet";
import cors from "cors";
import cookies from "cookie-parser";
import { rateLimit } from "express-rate-limit";
import { body, validationResult } from "express-validator";
const app = express();
app.use(morgan("tiny"), helmet(), cors(), cookies(), express.json(), rateLimit({ limit: 1000, standardHeaders: false, legacyHeaders: false }));
app.get("/", (req, res) => res.json({ host: req.hostname, url: req.originalUrl, protocol: req.protocol, secure: req.secure }));
app.get("/hello/:name", (req, res) => res.cookie("seen", "1").send(\`hello \${req.params.name} \${req.query.y}\`));
app.get("/go", (req, res) => res.redirect("/hello/you"));
app.post("/echo", body("a").isArray(), (req, res) => res.json({ body: req.body, errors: validationResult(req).array() }));
app.get("/fails", () => { throw new Error("broken"); });
app.listen(process.env.PORT || 3000);
`, ["/fails", "/go"]],
  ["fastify-full", ["fastify", "@fastify/cors", "@fastify/cookie", "@fastify/static", "@fastify/formbody"], `import Fastify from "fastify";
import cors from "@fastify/cors";
import cookie from "@fastify/cookie";
import statics from "@fastify/static";
const app = Fastify();
await app.register(cors);
await app.register(cookie);
await app.register(statics, { root: import.meta.dirname + "/public", prefix: "/public/" });
app.get("/", async (request) => ({ host: request.host, url: request.url, protocol: request.protocol }));
app.get("/hello/:name", async (request, reply) => reply.setCookie("seen", "1").send(\`hello \${request.params.name} \${request.query.y}\`));
app.get("/go", async (request, reply) => reply.redirect("/hello/you"));
app.post("/echo", { schema: { body: { type: "object", required: ["a"] } } }, async (request) => request.body);
await app.listen({ port: Number(process.env.PORT || 3000), host: process.env.HOST });
`, ["/public/a.txt", "/public/none", "/go"], { "public/a.txt": "file\n" }],
  ["hapi-full", ["@hapi/hapi", "@hapi/inert", "@hapi/vision", "handlebars"], `import Hapi from "@hapi/hapi";
import Inert from "@hapi/inert";
const server = Hapi.server({ port: process.env.PORT || 3000, host: process.env.HOST });
await server.register(Inert);
server.route({ method: "GET", path: "/", handler: (request) => ({ host: request.info.host, path: request.path }) });
server.route({ method: "GET", path: "/hello/{name}", handler: (request) => \`hello \${request.params.name} \${request.query.y}\` });
server.route({ method: "POST", path: "/echo", handler: (request) => request.payload });
server.route({ method: "GET", path: "/go", handler: (request, h) => h.redirect("/hello/you") });
await server.start();
`, ["/go"]],
  ["polka", ["polka", "sirv", "body-parser"], `import polka from "polka";
import sirv from "sirv";
import { json } from "body-parser";
polka()
  .use(json(), sirv("public"))
  .get("/", (req, res) => res.end(JSON.stringify({ url: req.originalUrl, host: req.headers.host })))
  .get("/hello/:name", (req, res) => res.end("hello " + req.params.name))
  .post("/echo", (req, res) => res.end(JSON.stringify(req.body)))
  .listen(process.env.PORT || 3000);
`.replace('import { json } from "body-parser";', 'import parser from "body-parser";\nconst { json } = parser;'), ["/a.txt"], { "public/a.txt": "file\n" }],
  ["restify-like", ["find-my-way", "raw-body", "send"], `import http from "node:http";
import FindMyWay from "find-my-way";
import rawBody from "raw-body";
import send from "send";
const router = FindMyWay({ defaultRoute: (req, res) => { res.statusCode = 404; res.end("nothing here"); } });
router.on("GET", "/", (req, res) => res.end(req.headers.host));
router.on("GET", "/hello/:name", (req, res, { name }) => res.end("hello " + name));
router.on("GET", "/file", (req, res) => send(req, "/a.txt", { root: import.meta.dirname + "/public", lastModified: false, etag: false }).pipe(res));
router.on("POST", "/echo", async (req, res) => res.end(await rawBody(req)));
http.createServer((req, res) => router.lookup(req, res)).listen(process.env.PORT || 3000);
`, ["/file", { path: "/file", headers: { range: "bytes=1-2" } }], { "public/a.txt": "file\n" }],
  ["connect", ["connect", "serve-static", "serve-index", "finalhandler"], `import connect from "connect";
import serveStatic from "serve-static";
const app = connect();
app.use("/public", serveStatic("public", { lastModified: false, etag: false }));
app.use("/hello", (req, res) => res.end("hello " + req.url));
app.use("/echo", (req, res) => req.pipe(res));
app.listen(process.env.PORT || 3000);
`, ["/public/a.txt", "/public"], { "public/a.txt": "file\n" }],
  ["tinyhttp", ["@tinyhttp/app", "milliparsec"], `import { App } from "@tinyhttp/app";
import { json } from "milliparsec";
new App()
  .use(json())
  .get("/", (req, res) => res.json({ url: req.originalUrl, host: req.hostname }))
  .get("/hello/:name", (req, res) => res.send("hello " + req.params.name))
  .post("/echo", (req, res) => res.json(req.body))
  .listen(Number(process.env.PORT || 3000));
`],
  ["hono-node", ["hono", "@hono/node-server"], `import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { csrf } from "hono/csrf";
import { cors } from "hono/cors";
import { trimTrailingSlash } from "hono/trailing-slash";
const app = new Hono();
app.use(trimTrailingSlash());
app.use("/form", csrf());
app.use("/echo", cors());
app.get("/", (c) => c.json({ url: c.req.url, path: c.req.path }));
app.get("/hello/:name", (c) => c.text("hello " + c.req.param("name") + c.req.query("y")));
app.get("/go", (c) => c.redirect(new URL("/hello/you", c.req.url).href));
app.post("/echo", async (c) => c.json(await c.req.json()));
app.post("/form", (c) => c.text("taken"));
serve({ fetch: app.fetch, port: Number(process.env.PORT || 3000) });
`, ["/go", "/hello/x/", { method: "POST", path: "/form", headers: { origin: "http://other.example", "content-type": "application/x-www-form-urlencoded" }, body: "a=1" }]],
  ["h3-node", ["h3"], `import { H3, serve } from "h3";
const app = new H3();
app.get("/", (event) => ({ url: event.url.href, origin: event.url.origin }));
app.get("/hello/:name", (event) => "hello " + event.context.params.name);
app.post("/echo", (event) => event.req.json());
serve(app, { port: Number(process.env.PORT || 3000), silent: true });
`, ["/hello/x%20y"]],
  ["itty", ["itty-router", "@whatwg-node/server"], `import { AutoRouter } from "itty-router";
import { createServerAdapter } from "@whatwg-node/server";
import { createServer } from "node:http";
const router = AutoRouter();
router.get("/", (request) => ({ url: request.url })).get("/hello/:name", ({ params }) => "hello " + params.name).post("/echo", (request) => request.json());
createServer(createServerAdapter(router.fetch)).listen(process.env.PORT || 3000);
`],
  ["trpc", ["@trpc/server", "zod"], `import { initTRPC } from "@trpc/server";
import { createHTTPServer } from "@trpc/server/adapters/standalone";
import { z } from "zod";
const t = initTRPC.create();
const router = t.router({ hello: t.procedure.input(z.string()).query(({ input }) => "hello " + input), add: t.procedure.input(z.object({ a: z.number() })).mutation(({ input }) => input.a + 1) });
createHTTPServer({ router }).listen(Number(process.env.PORT || 3000));
`, ["/hello?input=%22ada%22", { method: "POST", path: "/add", headers: { "content-type": "application/json" }, body: '{"a":1}' }]],
  ["graphql-http", ["graphql", "graphql-http"], `import { createHandler } from "graphql-http/lib/use/http";
import { buildSchema } from "graphql";
import http from "node:http";
const handler = createHandler({ schema: buildSchema("type Query { hello(name: String): String }"), rootValue: { hello: ({ name }) => "hello " + name } });
http.createServer((req, res) => handler(req, res)).listen(process.env.PORT || 3000);
`, [{ method: "POST", path: "/", headers: { "content-type": "application/json" }, body: '{"query":"{ hello(name: \\"ada\\") }"}' }]],
  ["http-proxy", ["http-proxy-middleware", "express"], `import express from "express";
import { createProxyMiddleware } from "http-proxy-middleware";
const app = express();
app.use("/up", createProxyMiddleware({ target: process.env.UPSTREAM, changeOrigin: true }));
app.get("/", (req, res) => res.send("front"));
app.listen(process.env.PORT || 3000);
`, ["/up/x", "/up/404", { method: "POST", path: "/up/y", body: "text" }]],
  ["busboy", ["busboy", "formidable"], `import http from "node:http";
import busboy from "busboy";
http.createServer((req, res) => {
  if (!req.headers["content-type"]?.startsWith("multipart/")) return res.end("form");
  const seen = [];
  const parser = busboy({ headers: req.headers });
  parser.on("file", (name, file, info) => { let size = 0; file.on("data", (data) => (size += data.length)).on("close", () => seen.push([name, info.filename, size])); });
  parser.on("field", (name, value) => seen.push([name, value]));
  parser.on("close", () => res.end(JSON.stringify(seen)));
  req.pipe(parser);
}).listen(process.env.PORT || 3000);
`, [{ method: "POST", path: "/", headers: { "content-type": "multipart/form-data; boundary=x" }, body: '--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n--x\r\ncontent-disposition: form-data; name="f"; filename="f.txt"\r\ncontent-type: text/plain\r\n\r\nhello\r\n--x--\r\n' }]],
  ["sse", ["better-sse"], `import http from "node:http";
import { createSession } from "better-sse";
http.createServer(async (req, res) => {
  const session = await createSession(req, res);
  session.push("one").push({ two: 2 });
  setTimeout(() => res.end(), 50);
}).listen(process.env.PORT || 3000);
`],
  ["session-store", ["express", "express-session", "memorystore", "connect-flash", "csurf"].slice(0, 4), `import express from "express";
import session from "express-session";
import makeStore from "memorystore";
import flash from "connect-flash";
const MemoryStore = makeStore(session);
const app = express();
app.use(session({ secret: "x", resave: false, saveUninitialized: false, store: new MemoryStore({ checkPeriod: 86400000 }) }), flash());
app.get("/", (req, res) => res.json({ flash: req.flash("info") }));
app.listen(process.env.PORT || 3000);
`],
  ["views", ["express", "ejs", "pug", "hbs"], `import express from "express";
const app = express();
app.set("views", import.meta.dirname + "/views");
app.get("/", (req, res) => res.render("a.ejs", { name: "<ada>" }));
app.get("/pug", (req, res) => res.render("b.pug", { name: "<ada>" }));
app.get("/hbs", (req, res) => res.render("c.hbs", { name: "<ada>" }));
app.listen(process.env.PORT || 3000);
`, ["/pug", "/hbs"], { "views/a.ejs": "<p><%= name %></p>\n", "views/b.pug": "p= name\n", "views/c.hbs": "<p>{{name}}</p>\n" }],
  ["nest", ["@nestjs/core", "@nestjs/common", "@nestjs/platform-express", "rxjs", "reflect-metadata"], `import "reflect-metadata";
import { NestFactory } from "@nestjs/core";
import { Body, Controller, Get, Module, NotFoundException, Param, Post } from "@nestjs/common";
class App {
  index() { return { ok: true }; }
  hello(name) { return "hello " + name; }
  echo(body) { return body; }
  gone() { throw new NotFoundException("gone"); }
}
const method = (decorate, name) => decorate(App.prototype, name, Object.getOwnPropertyDescriptor(App.prototype, name));
method(Get("/"), "index");
Param("name")(App.prototype, "hello", 0);
method(Get("/hello/:name"), "hello");
Body()(App.prototype, "echo", 0);
method(Post("/echo"), "echo");
method(Get("/gone"), "gone");
Controller()(App);
class Root {}
Module({ controllers: [App] })(Root);
const app = await NestFactory.create(Root, { logger: ["error"] });
await app.listen(process.env.PORT || 3000);
`, ["/gone"]],
  ["feathers", ["@feathersjs/feathers", "@feathersjs/koa", "koa"], `import { feathers } from "@feathersjs/feathers";
import { bodyParser, errorHandler, koa, rest } from "@feathersjs/koa";
const app = koa(feathers());
app.use(errorHandler());
app.use(bodyParser());
app.configure(rest());
app.use("hello", { async find(params) { return [{ query: params.query }]; }, async create(data) { return data; } });
app.listen(process.env.PORT || 3000);
`, ["/hello?x=1"]],
  ["moleculer-web", ["moleculer", "moleculer-web"], `import { ServiceBroker } from "moleculer";
import ApiService from "moleculer-web";
const broker = new ServiceBroker({ logger: false });
broker.createService({ name: "greeter", actions: { hello: (ctx) => "hello " + ctx.params.name } });
broker.createService({ name: "api", mixins: [ApiService], settings: { port: process.env.PORT || 3000, routes: [{ path: "/", aliases: { "GET hello/:name": "greeter.hello" } }] } });
await broker.start();
`.replace('import { ServiceBroker } from "moleculer";', 'import moleculer from "moleculer";\nconst { ServiceBroker } = moleculer;')],
  ["elysia-node", ["elysia", "@elysiajs/node"], `import { Elysia } from "elysia";
import { node } from "@elysiajs/node";
new Elysia({ adapter: node() }).get("/", () => "elysia").get("/hello/:name", ({ params }) => "hello " + params.name).post("/echo", ({ body }) => body).listen(Number(process.env.PORT || 3000));
`],
];

const mask = (text) => text
  .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}/g, "ID")
  .replace(/connect\.sid=[^;]*/g, "connect.sid=").replace(/at .*\n?/g, "").replace(/"timestamp":"[^"]*"/g, "");

export default table.map(([name, packages, code, more = [], files = {}]) => ({
  name: `server-${name}`,
  group: "Servers of npm",
  packages,
  files: { "server.js": code, ...files },
  peer: "node",
  entry: ["server.js"],
  requests: [...REQUESTS, ...more],
  mask,
}));
