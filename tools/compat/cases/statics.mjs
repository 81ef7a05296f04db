// Folders of files without code. Nobody's peer: the answers are what a static host gives.
const page = (text) => `<!doctype html><h1>${text}</h1>\n`;
const html = { "content-type": "text/html;charset=utf-8" };
const answer = (status, body, headers = html) => ({ status, headers, body });

export default [
  {
    name: "static-folder",
    title: "files alone",
    files: { "index.html": page("index"), "about/index.html": page("about"), "plain.html": page("plain"), "a.css": "a {}\n", "404.html": page("missing") },
    requests: ["/", "/about/", "/plain", "/a.css", "/none"],
    expected: [answer(200, page("index")), answer(200, page("about")), answer(200, page("plain")), answer(200, "a {}\n", { "content-type": "text/css;charset=utf-8" }), answer(404, page("missing"))],
  },
  {
    name: "static-dist",
    title: "dist of a single-page application",
    files: { "package.json": '{"name":"x","scripts":{"build":"vite build"},"devDependencies":{"vite":"^7"}}', "dist/index.html": page("app"), "dist/assets/a-12345678.js": "1;\n" },
    requests: ["/", { path: "/deep/link", headers: { accept: "text/html" } }],
    expected: [answer(200, page("app")), answer(200, page("app"))],
  },
].map((one) => ({ ...one, group: "Static sites" }));
