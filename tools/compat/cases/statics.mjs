// Folders of files without code. There is no peer: the answers are those of a static host. Sites that are built are among the frameworks.
const page = (text) => `<!doctype html><h1>${text}</h1>\n`;
// One page and a script are the sign of a single-page application.
const app = '<!doctype html><script type="module" src="/assets/a-12345678.js"></script>\n';
const html = { "content-type": "text/html;charset=utf-8" };
const answer = (status, body, headers = html) => ({ status, headers, body });

export default [
  {
    name: "static-folder",
    title: "files alone",
    files: { "index.html": page("index"), "about/index.html": page("about"), "plain.html": page("plain"), "a.css": "a {}\n", "404.html": page("missing") },
    requests: ["/", "/about/", "/plain", "/a.css", "/none"],
    answers: [answer(200, page("index")), answer(200, page("about")), answer(200, page("plain")), answer(200, "a {}\n", { "content-type": "text/css;charset=utf-8" }), answer(404, page("missing"))],
  },
  {
    name: "static-dist",
    title: "dist of a single-page application",
    files: { "package.json": '{"name":"x","scripts":{"build":"vite build"},"devDependencies":{"vite":"^7"}}', "dist/index.html": app, "dist/assets/a-12345678.js": "1;\n" },
    requests: ["/", { path: "/deep/link", headers: { accept: "text/html" } }],
    answers: [answer(200, app), answer(200, app)],
  },
  {
    name: "static-alone",
    title: "the output of a single-page application, without its source",
    files: { "index.html": app, "assets/a-12345678.js": "1;\n", "robots.txt": "User-agent: *\n" },
    requests: ["/", { path: "/deep/link", headers: { accept: "text/html" } }, "/assets/none.js", "/robots.txt"],
    answers: [answer(200, app), answer(200, app), answer(404, "Not found\n", { "content-type": "text/plain;charset=utf-8" }), answer(200, "User-agent: *\n", { "content-type": "text/plain;charset=utf-8" })],
  },
].map((one) => ({ ...one, group: "Static sites" }));
