// Projects without a node_modules: the router fetches their packages (--allow-install), the peer runs after `npm install`.
import servers from "./servers.mjs";

const install = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefer-offline"];
const manifest = (dependencies, more = {}) => JSON.stringify({ name: "x", private: true, type: "module", scripts: { start: "node server.js" }, dependencies, ...more });
const server = (imports, expression) => `import http from "node:http";\n${imports}\nhttp.createServer(async (request, response) => response.end(JSON.stringify(await ${expression}))).listen(process.env.PORT || 3000);\n`;

const table = [
  ["ranges", "ranges in package.json", { "package.json": manifest({ ms: "^2.1.0", "is-odd": "3.x", semver: ">=7 <8" }), "server.js": server('import ms from "ms";\nimport isOdd from "is-odd";\nimport semver from "semver";', '[ms(60000), isOdd(3), semver.major("7.1.0")]') }],
  ["lock", "a package-lock.json", { "package.json": manifest({ ms: "^2.0.0" }), "server.js": server('import ms from "ms";', "ms(60000)") }, { build: [[...install, "--package-lock-only"]] }],
  ["phantom", "packages that only other packages depend on", { "package.json": manifest({ express: "^5" }), "server.js": server('import debug from "debug";\nimport parser from "body-parser";\nimport mime from "mime-types";', '[typeof debug("x"), typeof parser.json, mime.lookup("a.css")]') }],
  ["workspaces", "a workspace of npm", { "package.json": manifest({}, { workspaces: ["packages/*"] }), "packages/say/package.json": JSON.stringify({ name: "@w/say", version: "1.0.0", type: "module", exports: "./index.js", dependencies: { ms: "^2" } }), "packages/say/index.js": 'import ms from "ms";\nexport default (text) => text + ms("1s");\n', "server.js": server('import say from "@w/say";', 'say("hi")') }],
  ["file", "a file: dependency", { "package.json": manifest({ lib: "file:./lib" }), "lib/package.json": '{"name":"lib","version":"1.0.0","main":"index.js","dependencies":{"ms":"^2"}}', "lib/index.js": 'module.exports = require("ms")(1000);\n', "server.js": server('import lib from "lib";', "lib") }],
  ["alias", "an alias of npm", { "package.json": manifest({ time: "npm:ms@2.1.3" }), "server.js": server('import time from "time";', "time(1000)") }],
  ["optional", "an optional package of another system", { "package.json": manifest({ ms: "^2" }, { optionalDependencies: { fsevents: "^2" } }), "server.js": server('import ms from "ms";', '[ms(1000), await import("fsevents").then(() => "there", () => "not there")]') }],
  ["development", "devDependencies that nothing needs", { "package.json": manifest({ ms: "^2" }, { devDependencies: { typescript: "^5", esbuild: "*" } }), "server.js": server('import ms from "ms";', "ms(1000)") }],
  ["lazy", "packages that are loaded in a handler", { "package.json": manifest({ ms: "^2", "is-odd": "^3" }), "server.js": server('import { createRequire } from "node:module";\nconst require = createRequire(import.meta.url);', '[(await import("ms")).default(1000), require("is-odd")(3)]') }],
  ["peers", "peer dependencies", { "package.json": manifest({ "react-dom": "^19" }), "server.js": server('import { createElement } from "react";\nimport { renderToString } from "react-dom/server";', 'renderToString(createElement("p", null, "peer"))') }],
  ["overrides", "overrides", { "package.json": manifest({ debug: "4.3.4" }, { overrides: { ms: "2.1.1" } }), "server.js": server('import { createRequire } from "node:module";\nconst require = createRequire(createRequire(import.meta.url).resolve("debug"));', 'require("ms/package.json").version') }],
  ["commonjs", "CommonJS", { "package.json": manifest({ express: "^4", lodash: "^4" }, { type: "commonjs" }), "server.js": 'const express = require("express");\nconst _ = require("lodash");\nexpress().get("/", (request, response) => response.json(_.chunk([1, 2, 3], 2))).listen(process.env.PORT || 3000);\n' }],
  ["tsx", "npm start: tsx, a development tool", { "package.json": manifest({ hono: "^4", "@hono/node-server": "^1", ms: "^2" }, { scripts: { start: "tsx src/server.ts" }, devDependencies: { tsx: "^4" } }), "src/text.ts": 'import ms from "ms";\nexport const text: string = ms(1000);\n', "src/server.ts": 'import { serve } from "@hono/node-server";\nimport { Hono } from "hono";\nimport { text } from "./text.js";\nconst app = new Hono().get("/", (c) => c.text(text));\nserve({ fetch: app.fetch, port: Number(process.env.PORT ?? 3000) });\n' }, { entry: ["node_modules/tsx/dist/cli.mjs", "src/server.ts"] }],
  ["program", "npm start: a program of a package", { "package.json": manifest({ "json-server": "1.0.0-beta.3" }, { scripts: { start: "json-server db.json" } }), "db.json": '{"posts": [{"id": "1", "title": "a"}]}', "public/robots.txt": "User-agent: *\n" }, { entry: ["node_modules/json-server/lib/bin.js", "db.json"], requests: ["/posts", "/posts/1"] }],
];

// Servers that other cases have with their packages in place.
const SERVERS = ["koa-router", "express-full", "fastify-full", "hapi-full", "trpc", "nest", "feathers", "views"];
const again = servers.filter(({ name }) => SERVERS.includes(name.replace("server-", ""))).map((one) => ({
  ...one,
  name: one.name.replace("server-", "installed-"),
  title: one.packages.join(", "),
  packages: undefined,
  files: { ...one.files, "package.json": manifest(Object.fromEntries(one.packages.map((name) => [name, "latest"]))) },
}));

const own = table.map(([name, title, files, more]) => ({ name: `installed-${name}`, title, files, peer: "node", entry: ["server.js"], ...more }));

export default [...own, ...again].map((one) => ({ ...one, group: "Packages that the router fetches", peerBuild: [install] }));
