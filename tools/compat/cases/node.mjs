// Projects of Node as generators make them, and tools through which servers are started.
const install = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefer-offline"];
const manifest = (start, more = {}) => JSON.stringify({ name: "x", private: true, type: "module", scripts: { start }, ...more });
const typescript = 'import http from "node:http";\nimport { greet } from "./greet.js";\nconst port: number = Number(process.env.PORT ?? 3000);\nhttp.createServer((request, response) => response.end(greet(request.url ?? ""))).listen(port);\n';
const sources = { "src/server.ts": typescript, "src/greet.ts": "export const greet = (name: string): string => `hello ${name}`;\n" };
const member = { "packages/say/package.json": JSON.stringify({ name: "@w/say", version: "1.0.0", type: "module", exports: "./index.js", dependencies: { ms: "^2" } }), "packages/say/index.js": 'import ms from "ms";\nexport default (text) => text + ms("1s");\n' };
const says = 'import http from "node:http";\nimport say from "@w/say";\nhttp.createServer((request, response) => response.end(say("hi"))).listen(process.env.PORT || 3000);\n';

const table = [
  ["express-generator", "express-generator", {}, [["npx", "--yes", "express-generator@4", "--view=pug", "--force", "."], install], ["bin/www"], ["/", "/users", "/stylesheets/style.css", "/none"]],
  ["nest-cli", "nest new, nest build", {}, [["npx", "--yes", "@nestjs/cli@11", "new", "app", "--directory", ".", "--skip-git", "--skip-install", "--package-manager", "npm"], install, ["npm", "run", "build"]], ["dist/main"], ["/", "/none"]],
  ["fastify-cli", "fastify-cli generate", {}, [["npx", "--yes", "fastify-cli@7", "generate", "."], install], ["node_modules/fastify-cli/cli.js", "start", "-l", "info", "app.js"], ["/", "/example", "/none"]],
  ["tsx", "npm start: tsx src/server.ts", { "package.json": manifest("tsx src/server.ts", { devDependencies: { tsx: "^4" } }), ...sources }, [install], ["node_modules/tsx/dist/cli.mjs", "src/server.ts"], ["/ada"]],
  ["import-tsx", "npm start: node --import tsx", { "package.json": manifest("node --import tsx src/server.ts", { devDependencies: { tsx: "^4" } }), ...sources }, [install], ["--import", "tsx", "src/server.ts"], ["/ada"]],
  ["dotenv", "npm start: node -r dotenv/config", { "package.json": manifest("node -r dotenv/config server.js", { type: "commonjs", dependencies: { dotenv: "^17" } }), ".env": "GREETING=from a file\n", "server.js": 'require("node:http").createServer((request, response) => response.end(process.env.GREETING)).listen(process.env.PORT || 3000);\n' }, [install], ["-r", "dotenv/config", "server.js"], ["/"]],
  ["esbuild", "a bundle of esbuild", { "package.json": manifest("node dist/server.cjs", { dependencies: { express: "^5" }, devDependencies: { esbuild: "*" } }), "src/server.ts": 'import express from "express";\nconst app = express();\napp.get("/", (request, response) => { response.json({ bundled: true }); });\napp.listen(process.env.PORT || 3000);\n' }, [install, ["npx", "esbuild", "src/server.ts", "--bundle", "--platform=node", "--outfile=dist/server.cjs", "--log-level=error"]], ["dist/server.cjs"], ["/", "/none"]],
  ["json-server", "npm start: json-server, a program of a package", { "package.json": manifest("json-server db.json", { dependencies: { "json-server": "1.0.0-beta.3" } }), "db.json": '{"posts": [{"id": "1", "title": "a"}, {"id": "2", "title": "b"}]}', "public/robots.txt": "User-agent: *\n" }, [install], ["node_modules/json-server/lib/bin.js", "db.json"], ["/posts", "/posts/2", "/posts/3", "/posts?title=b"]],
  ["pnpm-workspace", "a workspace of pnpm", { "package.json": manifest("node server.js", { dependencies: { "@w/say": "workspace:*" } }), "pnpm-workspace.yaml": "packages:\n  - packages/*\n", "server.js": says, ...member }, [["npx", "--yes", "pnpm@10", "install", "--silent"]], ["server.js"], ["/"]],
  ["yarn-workspace", "a workspace of Yarn", { "package.json": manifest("node server.js", { workspaces: ["packages/*"], dependencies: { "@w/say": "1.0.0" } }), "server.js": says, ...member }, [["npx", "--yes", "yarn@1", "install", "--silent"]], ["server.js"], ["/"]],
];

export default table.map(([name, title, files, build, entry, requests]) => ({
  name: `node-${name}`,
  group: "Node projects of generators and tools",
  title,
  files,
  build,
  buildEnv: { COREPACK_ENABLE_STRICT: "0" },
  peer: "node",
  entry,
  requests,
  mask: (text) => text.replace(/ at .*\n?/g, ""),
}));
