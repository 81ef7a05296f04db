// Projects whose entry is where Node's and Deno's hosts look for it.
const server = (text) => `const http = require("node:http");
http.createServer((request, response) => response.end(${JSON.stringify(text)} + " " + process.argv.slice(2).join(","))).listen(process.env.PORT || 3000);
`;
const module = (text) => server(text).replace('const http = require("node:http")', 'import http from "node:http"');
const start = (command, more = {}) => JSON.stringify({ name: "x", scripts: { start: command }, ...more });

const table = [
  ["start-src", "npm start: node src/server.js", { "package.json": start("node src/server.js"), "src/server.js": server("src") }, ["src/server.js"]],
  ["start-bin", "npm start: node ./bin/www (Express' generator)", { "package.json": start("node ./bin/www"), "bin/www": "#!/usr/bin/env node\nrequire('../app');\n", "app.js": server("www") }, ["bin/www"]],
  ["start-folder", "npm start: node build", { "package.json": start("node build"), "build/index.js": server("build") }, ["build"]],
  ["start-dot", "npm start: node .", { "package.json": start("node .", { main: "lib/app" }), "lib/app.js": server("dot") }, ["."]],
  ["start-args", "npm start with arguments", { "package.json": start("node server.js --mode fast"), "server.js": server("args") }, ["server.js", "--mode", "fast"]],
  ["start-env", "npm start with variables", { "package.json": start("NODE_ENV=production node server.js"), "server.js": server("env") }, ["server.js"]],
  ["leftover-main", "npm init's left-over main", { "package.json": start("node server.js", { main: "index.js" }), "server.js": server("left") }, ["server.js"]],
  ["main-folder", "main names a folder", { "package.json": JSON.stringify({ main: "lib" }), "lib/index.js": server("lib") }, ["lib"]],
  ["main-stem", "main without extension", { "package.json": JSON.stringify({ main: "./lib/start" }), "lib/start.js": server("stem") }, ["lib/start.js"]],
  ["app-js", "app.js alone", { "package.json": '{"name":"x"}', "app.js": server("app") }, ["app.js"]],
  ["src-index", "src/index.js alone", { "package.json": '{"type":"module"}', "src/index.js": module("src-index") }, ["src/index.js"]],
  ["chain", "npm start behind another command", { "package.json": start("echo starting && node server.mjs"), "server.mjs": module("chain") }, ["server.mjs"]],
  ["cjs", "index.cjs", { "package.json": '{"type":"module","main":"index.cjs"}', "index.cjs": server("cjs") }, ["index.cjs"]],
  ["two-servers", "metrics on 9090, the application on PORT", { "package.json": start("node server.js"), "server.js": `const http = require("node:http");
http.createServer((request, response) => response.end("metrics")).listen(0);
http.createServer((request, response) => response.end("application")).listen(process.env.PORT || 3000);
` }, ["server.js"]],
  ["request-facts", "what node:http says of a request", { "package.json": "{}", "server.js": `const http = require("node:http");
http.createServer((request, response) => response.end(JSON.stringify([request.url, request.method, request.headers.host, request.httpVersion, request.socket.localAddress === undefined, typeof request.socket.localPort, request.socket.encrypted ?? null]))).listen(process.env.PORT || 3000);
` }, ["server.js"], ["/", "/a/b?c=%20", "//double", "/%E4"]],
  ["npm-workspace", "a workspace of npm inside the project", { "package.json": JSON.stringify({ name: "root", workspaces: ["packages/*"], scripts: { start: "node server.js" } }), "server.js": `const say = require("@w/say");
require("node:http").createServer((request, response) => response.end(say("hi"))).listen(process.env.PORT || 3000);
`, "packages/say/package.json": JSON.stringify({ name: "@w/say", version: "1.0.0", main: "index.js", dependencies: { ms: "^2" } }), "packages/say/index.js": 'const ms = require("ms");\nmodule.exports = (text) => text + ms("1s");\n' }, ["server.js"], ["/"], [["npm", "install", "--no-audit", "--no-fund", "--silent"]]],
  ["file-dependency", "a file: dependency inside the project", { "package.json": JSON.stringify({ dependencies: { lib: "file:./lib" }, scripts: { start: "node server.js" } }), "server.js": 'const lib = require("lib");\nrequire("node:http").createServer((request, response) => response.end(lib)).listen(process.env.PORT || 3000);\n', "lib/package.json": '{"name":"lib","version":"1.0.0","main":"i"}', "lib/i.js": 'module.exports = "linked";\n' }, ["server.js"], ["/"], [["npm", "install", "--no-audit", "--no-fund", "--silent"]]],
  ["typescript-built", "TypeScript compiled to dist", { "package.json": start("node dist/index.js", { type: "module" }), "src/index.ts": 'import http from "node:http";\nconst answer: string = "compiled";\nhttp.createServer((_request, response) => response.end(answer)).listen(process.env.PORT || 3000);\n' }, ["dist/index.js"], ["/"], [["npx", "--yes", "-p", "typescript@5", "-p", "@types/node@22", "tsc", "--outDir", "dist", "--module", "nodenext", "--target", "es2022", "--skipLibCheck", "--noCheck", "src/index.ts"]]],
  ["worker-threads", "worker_threads", { "package.json": "{}", "server.js": `const { Worker, isMainThread, parentPort } = require("node:worker_threads");
if (isMainThread) {
  require("node:http").createServer((request, response) => {
    const worker = new Worker(__filename);
    worker.once("message", (text) => (response.end(text), worker.terminate()));
  }).listen(process.env.PORT || 3000);
} else parentPort.postMessage("from a thread");
` }, ["server.js"]],
  ["static-relative", "files by relative paths", { "package.json": start("node server.js"), "server.js": `const fs = require("node:fs");
require("node:http").createServer((request, response) => fs.createReadStream("public/a.txt").pipe(response)).listen(process.env.PORT || 3000);
`, "public/a.txt": "relative\n" }, ["server.js"]],
];

export default table.map(([name, title, files, entry, requests, build]) => ({
  name: `entry-${name}`,
  group: "Entries of Node projects",
  title,
  files,
  build,
  peer: "node",
  entry,
  requests,
}));
