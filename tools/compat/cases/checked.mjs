// What each project in `projects` needs of npm, and what it has to answer. A check is given the project as it is reached:
// `get`, `post`, `ask` (fetch), `socket` (a WebSocket as a list of what comes), `printed` (what it has logged so far).
import assert from "node:assert/strict";
import { eventually } from "../lib/process.mjs";

const json = async (response) => {
  const text = await response.text();
  assert.ok(response.ok, `${response.status}: ${text.slice(0, 300)}`);
  return JSON.parse(text);
};
const text = async (response) => {
  const text = await response.text();
  assert.ok(response.ok, `${response.status}: ${text.slice(0, 300)}`);
  return text;
};
// Logs are written behind answers.
const prints = (app, text) => eventually(`the log has ${text}`, async () => text.test(await app.printed()));
const isLoopback = (address) => assert.match(String(address), /^(::ffff:)?127\.0\.0\.1$/);
const answers = (expected) => async (app) => assert.deepEqual(await json(await app.get("/")), expected);
const hello = async (app) => {
  const asked = { query: 'query ($name: String!) { hello(name: $name) }', variables: { name: "ada" } };
  assert.deepEqual(await json(await app.post("/", asked)), { data: { hello: "hello ada" } });
};

export default {
  express: {
    packages: ["express"],
    async check(app) {
      const { ip, query } = await json(await app.get("/?a[]=1&b=x%20y"));
      isLoopback(ip);
      assert.equal(query.b, "x y");
      assert.equal(await text(await app.get("/users/7")), "user 7");
      assert.deepEqual(await json(await app.post("/", { name: "ada" })), { name: "ada" });
      const failed = await app.get("/fails");
      assert.deepEqual([failed.status, await failed.text()], [500, "told"]);
      assert.equal((await app.get("/none")).status, 404);
    },
  },
  koa: {
    packages: ["koa"],
    async check(app) {
      const response = await app.get("/deep/path");
      assert.equal(response.headers.get("x-after"), "yes");
      const { ip, path } = await json(response);
      isLoopback(ip);
      assert.equal(path, "/deep/path");
    },
  },
  fastify: {
    packages: ["fastify"],
    async check(app) {
      isLoopback((await json(await app.get("/"))).ip);
      assert.deepEqual(await json(await app.post("/", { name: "ada" })), { name: "ada" });
      assert.equal((await app.post("/", { nobody: 1 })).status, 400);
      await prints(app, /told: http:/);
    },
  },
  hono: {
    peer: "deno",
    packages: ["hono"],
    async check(app) {
      assert.deepEqual(await json(await app.get("/?a=1")), { query: { a: "1" } });
      assert.equal(await text(await app.get("/stream")), "one two three");
    },
  },
  hapi: {
    packages: ["@hapi/hapi"],
    async check(app) {
      isLoopback((await json(await app.get("/"))).ip);
      assert.deepEqual(await json(await app.post("/", { name: "ada" })), { name: "ada" });
    },
  },
  react: {
    peer: "deno",
    packages: ["react", "react-dom"],
    async check(app) {
      const page = await text(await app.get("/"));
      assert.match(page, /<h1>React<\/h1>/);
      assert.match(page, /<p>late<\/p>/);
    },
  },
  preact: {
    peer: "deno",
    packages: ["preact", "preact-render-to-string"],
    check: async (app) => assert.equal(await text(await app.get("/")), "<main>Preact <b>3</b></main>"),
  },
  vue: {
    packages: ["vue"],
    check: async (app) => assert.match(await text(await app.get("/")), /<li>one<\/li><li>two<\/li>/),
  },
  "graphql-yoga": { packages: ["graphql-yoga", "graphql@16"], check: hello },
  apollo: { packages: ["@apollo/server", "graphql@16"], check: hello },
  "socket-io": {
    packages: ["socket.io"],
    async check(app) {
      const path = "/socket.io/?EIO=4&transport=";
      const opened = await text(await app.get(`${path}polling`));
      const { sid } = JSON.parse(opened.slice(1));
      const poll = `${path}polling&sid=${sid}`;
      assert.equal(await text(await app.ask(poll, { method: "POST", body: "40" })), "ok");
      assert.match(await text(await app.get(poll)), /^40/);
      const socket = await app.socket(`${path}websocket`);
      assert.match(await socket.next(), /^0/);
      socket.send("40");
      assert.match(await socket.next(), /^40/);
      socket.send('42["say","hi"]');
      assert.equal(await socket.next(), '42["said","hi"]');
      assert.match(await text(await app.get(poll)), /42\["said","hi"\]/);
      socket.close();
    },
  },
  ws: {
    packages: ["ws"],
    async check(app) {
      const socket = await app.socket("/");
      assert.match(await socket.next(), /^hello (::ffff:)?127\.0\.0\.1$/);
      for (const message of ["one", "two".repeat(50_000)]) {
        socket.send(message);
        assert.equal(await socket.next(), message);
      }
      socket.close();
      assert.equal(await text(await app.get("/")), "plain");
    },
  },
  zod: {
    peer: "deno",
    packages: ["zod"],
    async check(app) {
      const user = { name: "ada", email: "ada@example.com" };
      assert.deepEqual(await json(await app.post("/", user)), user);
      const refused = await app.post("/", { name: "" });
      assert.deepEqual([refused.status, Object.keys((await refused.json()).fieldErrors)], [400, ["name", "email"]]);
    },
  },
  axios: { packages: ["axios"], check: answers({ status: 200, data: { method: "POST", body: '{"from":"axios"}' }, refused: 404 }) },
  undici: { peer: "deno", packages: ["undici"], check: answers({ status: 200, data: { method: "POST", body: '{"from":"undici"}' } }) },
  drizzle: {
    peer: "deno",
    packages: ["drizzle-orm"],
    async check(app) {
      const [user] = await json(await app.get("/?name=ada"));
      assert.equal(user.name, "ada");
    },
  },
  jsonwebtoken: { packages: ["jsonwebtoken"], check: answers({ user: "ada", forged: "JsonWebTokenError" }) },
  jose: { peer: "deno", packages: ["jose"], check: answers({ user: "ada" }) },
  bcryptjs: { peer: "deno", packages: ["bcryptjs"], check: answers({ right: true, wrong: false }) },
  multer: {
    packages: ["multer", "express"],
    async check(app) {
      const form = new FormData();
      form.append("title", "notes");
      form.append("file", new Blob(["hello".repeat(20_000)]), "notes.txt");
      const told = await json(await app.ask("/", { method: "POST", body: form }));
      assert.deepEqual({ ...told, text: told.text.length }, { originalname: "notes.txt", size: 100_000, text: 100_000, title: "notes" });
    },
  },
  compression: {
    packages: ["compression", "cors", "helmet", "express"],
    async check(app) {
      const response = await app.ask("/", { headers: { origin: "http://example.com", "accept-encoding": "gzip" } });
      assert.equal(response.headers.get("content-encoding"), "gzip");
      assert.equal(response.headers.get("access-control-allow-origin"), "*");
      assert.equal(response.headers.get("x-content-type-options"), "nosniff");
      assert.equal((await text(response)).length, 21_000);
    },
  },
  passport: {
    packages: ["passport", "passport-local", "express-session", "express"],
    async check(app) {
      const login = (password) =>
        app.ask("/login", { method: "POST", body: new URLSearchParams({ username: "ada", password }) });
      assert.equal((await login("wrong")).status, 401);
      const response = await login("secret");
      assert.equal(await text(response), "ada");
      const cookie = response.headers.get("set-cookie").split(";")[0];
      assert.equal(await text(await app.ask("/", { headers: { cookie } })), "ada");
      assert.equal(await text(await app.get("/")), "nobody");
    },
  },
  pug: {
    peer: "deno",
    packages: ["pug", "handlebars", "ejs"],
    async check(app) {
      const [pug, ...others] = await json(await app.get("/"));
      assert.equal(pug, "<ul><li>a</li><li>&lt;b&gt;</li></ul>");
      for (const other of others) assert.match(other, /^<ul><li>a<\/li><li>&lt;b&gt;<\/li><\/ul>$/);
    },
  },
  pino: {
    packages: ["pino"],
    async check(app) {
      assert.equal(await text(await app.get("/x")), "logged");
      await prints(app, /asked of pino/);
    },
  },
  winston: {
    packages: ["winston"],
    async check(app) {
      assert.equal(await text(await app.get("/")), "logged");
      await prints(app, /asked of winston/);
    },
  },
  nodemailer: {
    packages: ["nodemailer"],
    async check(app) {
      const { subject, to } = await json(await app.get("/"));
      assert.deepEqual([subject, to[0].address], ["Hi", "b@example.com"]);
    },
  },
  ioredis: { packages: ["ioredis"], note: "no server: refused cleanly", check: answers({ name: "Error", refused: true }) },
  mongodb: {
    packages: ["mongodb"],
    note: "no server: refused cleanly",
    check: answers({ name: "MongoServerSelectionError", id: true }),
  },
  pg: { packages: ["pg"], note: "no server: refused cleanly", check: answers({ refused: true }) },
  lodash: {
    packages: ["lodash", "date-fns", "rxjs", "uuid", "dotenv"],
    check: answers({
      lodash: { odd: [1, 3], even: [2] },
      "date-fns": "2026-03-01",
      rxjs: [10, 20],
      uuid: true,
      dotenv: { A: "1", B: "two words" },
    }),
  },
  sharp: {
    packages: ["sharp"],
    expected: "native code, which no project may load: `npm install --cpu=wasm32 sharp` installs it as WebAssembly",
    check: answers({ format: "png", width: 20, height: 10 }),
  },
  "sharp-wasm": {
    packages: ["sharp"],
    flags: ["--cpu=wasm32"],
    note: "as WebAssembly (`npm install --cpu=wasm32 sharp`)",
    check: answers({ format: "png", width: 20, height: 10 }),
  },
};
