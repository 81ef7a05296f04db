// Frameworks that are built in the run, with the output that their documentation has hosts run. Each is served from the root of
// its project, and some from the output alone.
const install = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefer-offline", "--legacy-peer-deps"];
const manifest = (scripts, dependencies, more = {}) => JSON.stringify({ name: "x", private: true, type: "module", scripts, dependencies, ...more });

const svelte = {
  "package.json": manifest({ build: "vite build", start: "node build" }, {}, { devDependencies: { "@sveltejs/adapter-node": "^5", "@sveltejs/adapter-static": "^3", "@sveltejs/kit": "^2", "@sveltejs/vite-plugin-svelte": "^6", svelte: "^5", vite: "^7" } }),
  "svelte.config.js": 'import adapter from "@sveltejs/adapter-node";\nexport default { kit: { adapter: adapter() } };\n',
  "vite.config.js": 'import { sveltekit } from "@sveltejs/kit/vite";\nexport default { plugins: [sveltekit()] };\n',
  "src/app.html": '<!doctype html><html><head>%sveltekit.head%</head><body>%sveltekit.body%</body></html>\n',
  "src/routes/+page.server.js": 'export const load = ({ url }) => ({ path: url.pathname, query: url.search });\n',
  "src/routes/+page.svelte": '<script>\n  let { data } = $props();\n</script>\n<h1>page {data.path} {data.query}</h1>\n',
  "src/routes/api/+server.js": 'import { json } from "@sveltejs/kit";\nexport const GET = ({ url }) => json({ path: url.pathname });\nexport const POST = async ({ request }) => json(await request.json());\n',
  "static/robots.txt": "User-agent: *\n",
};

const svelteStatic = {
  "package.json": svelte["package.json"].replace(',"start":"node build"', ""),
  "svelte.config.js": svelte["svelte.config.js"].replace("adapter-node", "adapter-static"),
  "vite.config.js": svelte["vite.config.js"],
  "src/app.html": svelte["src/app.html"],
  "src/routes/+layout.js": "export const prerender = true;\n",
  "src/routes/+page.svelte": "<h1>page</h1>\n",
  "src/routes/about/+page.svelte": "<h1>about</h1>\n",
};

const astro = (adapter) => ({
  "package.json": manifest({ build: "astro build", ...(adapter ? { start: "node ./dist/server/entry.mjs" } : {}) }, { astro: "^5", ...(adapter ? { "@astrojs/node": "^9" } : {}) }),
  "astro.config.mjs": adapter ? 'import node from "@astrojs/node";\nexport default { output: "server", adapter: node({ mode: "standalone" }), telemetry: false };\n' : "export default {};\n",
  "src/pages/index.astro": "<html><body><h1>astro {Astro.url.pathname}</h1></body></html>\n",
  "src/pages/about.astro": "<html><body><h1>about</h1></body></html>\n",
  ...(adapter ? { "src/pages/api.js": "export const prerender = false;\nexport const GET = ({ url }) => Response.json({ path: url.pathname });\n" } : {}),
  "public/robots.txt": "User-agent: *\n",
});

const router = {
  "package.json": manifest({ build: "react-router build", start: "react-router-serve ./build/server/index.js" }, { "@react-router/dev": "^7", "@react-router/node": "^7", "@react-router/serve": "^7", "react-router": "^7", isbot: "^5", react: "^19", "react-dom": "^19", vite: "^7" }),
  "vite.config.js": 'import { reactRouter } from "@react-router/dev/vite";\nexport default { plugins: [reactRouter()] };\n',
  "react-router.config.js": "export default { ssr: true };\n",
  "app/root.jsx": 'import { Outlet, Scripts } from "react-router";\nexport default function Root() {\n  return <html><head /><body><Outlet /><Scripts /></body></html>;\n}\n',
  "app/routes.js": 'import { index, route } from "@react-router/dev/routes";\nexport default [index("home.jsx"), route("api", "api.js")];\n',
  "app/home.jsx": "export default function Home() {\n  return <h1>home</h1>;\n}\n",
  "app/api.js": "export const loader = ({ request }) => Response.json({ path: new URL(request.url).pathname });\n",
  "public/robots.txt": "User-agent: *\n",
};

const spa = {
  ...router,
  "package.json": router["package.json"].replace(',"start":"react-router-serve ./build/server/index.js"', ""),
  "react-router.config.js": "export default { ssr: false };\n",
  "app/routes.js": 'import { index } from "@react-router/dev/routes";\nexport default [index("home.jsx")];\n',
};
delete spa["app/api.js"];

const nitro = {
  "package.json": manifest({ build: "nitropack build", start: "node .output/server/index.mjs" }, { nitropack: "^2" }),
  "nitro.config.ts": 'export default { srcDir: "server", compatibilityDate: "2025-09-01" };\n',
  "server/routes/index.ts": 'export default eventHandler(() => "nitro");\n',
  "server/routes/hello/[name].ts": 'export default eventHandler((event) => ({ name: getRouterParam(event, "name"), query: getQuery(event) }));\n',
  "server/routes/store.ts": 'export default eventHandler(async () => {\n  await useStorage("cache").setItem("a", "kept");\n  return useStorage("cache").getItem("a");\n});\n',
};

const storage = {
  ...nitro,
  "server/routes/index.ts": 'export default eventHandler(async () => {\n  await useStorage("data").setItem("a", "kept");\n  return useStorage("data").getItem("a");\n});\n',
};

const nuxt = {
  "package.json": manifest({ build: "nuxt build", start: "node .output/server/index.mjs" }, { nuxt: "^4", vue: "latest", "vue-router": "latest" }),
  "nuxt.config.ts": 'export default defineNuxtConfig({ compatibilityDate: "2025-09-01", telemetry: false });\n',
  "app/app.vue": "<template><h1>nuxt {{ $route.path }}</h1></template>\n",
  "server/api/hello.ts": 'export default defineEventHandler((event) => ({ path: event.path }));\n',
  "public/robots.txt": "User-agent: *\n",
};

const next = (output) => ({
  "package.json": manifest({ build: "next build", ...(output === "export" ? {} : { start: "next start" }) }, { next: "^16", react: "^19", "react-dom": "^19" }),
  "next.config.mjs": `export default { ${output ? `output: ${JSON.stringify(output)}, ` : ""}typescript: { ignoreBuildErrors: true } };\n`,
  "app/layout.jsx": "export default function Layout({ children }) {\n  return <html><body>{children}</body></html>;\n}\n",
  "app/page.jsx": "export default function Page() {\n  return <h1>next</h1>;\n}\n",
  "app/about/page.jsx": "export default function About() {\n  return <h1>about</h1>;\n}\n",
  ...(output === "export" ? {} : { "app/api/hello/route.js": 'export const dynamic = "force-dynamic";\nexport const GET = (request) => Response.json({ path: new URL(request.url).pathname });\n' }),
  "public/robots.txt": "User-agent: *\n",
});

const vite = {
  "package.json": manifest({ build: "vite build" }, { react: "^19", "react-dom": "^19" }, { devDependencies: { vite: "^7", "@vitejs/plugin-react": "^5" } }),
  "vite.config.js": 'import react from "@vitejs/plugin-react";\nexport default { plugins: [react()] };\n',
  "index.html": '<!doctype html><div id="root"></div><script type="module" src="/src/main.jsx"></script>\n',
  "src/main.jsx": 'import { createRoot } from "react-dom/client";\ncreateRoot(document.getElementById("root")).render(<h1>vite</h1>);\n',
  "public/robots.txt": "User-agent: *\n",
};

const eleventy = {
  "package.json": manifest({ build: "eleventy" }, {}, { devDependencies: { "@11ty/eleventy": "^3" } }),
  "index.md": "# eleventy\n",
  "about.md": "# about\n",
};

const vitepress = {
  "package.json": manifest({ build: "vitepress build" }, {}, { devDependencies: { vitepress: "^1" } }),
  "index.md": "# vitepress\n",
  "guide.md": "# guide\n",
};

// What a build puts into pages that no two runs have in common.
const mask = (text) => text.replace(/nonce="[^"]*"/g, "").replace(/"(?:buildId|b)":"[^"]*"/g, '""').replace(/\d{13}/g, "TIME");

const table = [
  ["sveltekit", "SvelteKit, adapter-node", svelte, [["npx", "vite", "build"]], ["build"], ["/", "/?a=1", "/api", "/robots.txt", "/none", { method: "POST", path: "/api", headers: { "content-type": "application/json" }, body: '{"a":1}' }]],
  ["astro", "Astro, node standalone", astro(true), [["npx", "astro", "build"]], ["dist/server/entry.mjs"], ["/", "/about", "/api", "/robots.txt", "/none"]],
  ["react-router", "React Router 7, react-router-serve", router, [["npx", "react-router", "build"]], ["node_modules/@react-router/serve/bin.js", "build/server/index.js"], ["/", "/api", "/robots.txt"]],
  ["nitro", "Nitro, node-server", nitro, [["npx", "nitropack", "build"]], [".output/server/index.mjs"], ["/", "/hello/ada?x=1", "/store", "/none"]],
  ["nitro-storage", "Nitro, a file of its storage `data`", storage, [["npx", "nitropack", "build"]], [".output/server/index.mjs"], ["/"], "its storage is `.data` in the working directory, and a project is read only: name a folder below DATA_DIR in nitro.config (`storage`)"],
  ["nuxt", "Nuxt 4", nuxt, [["npx", "nuxt", "build"]], [".output/server/index.mjs"], ["/api/hello", "/robots.txt", "/"]],
  ["next", "Next.js, next start", next(), [["npx", "next", "build"]], ["node_modules/next/dist/bin/next", "start"], ["/", "/about", "/api/hello", "/robots.txt"]],
  ["next-standalone", "Next.js, standalone", next("standalone"), [["npx", "next", "build"]], [".next/standalone/server.js"], ["/", "/about", "/api/hello"]],
  ["next-export", "Next.js, static export", next("export"), [["npx", "next", "build"]], { statics: "out" }, ["/", "/about", "/robots.txt"]],
  ["astro-static", "Astro, static", astro(false), [["npx", "astro", "build"]], { statics: "dist" }, ["/", "/about/", "/robots.txt"]],
  ["vite", "Vite with React", vite, [["npx", "vite", "build"]], { statics: "dist", flags: ["--single"] }, ["/", "/robots.txt", { path: "/deep/link", headers: { accept: "text/html" } }]],
  ["react-router-spa", "React Router 7, single-page application", spa, [["npx", "react-router", "build"]], { statics: "build/client", flags: ["--single"] }, ["/", "/robots.txt", { path: "/deep/link", headers: { accept: "text/html" } }]],
  ["sveltekit-static", "SvelteKit, adapter-static", svelteStatic, [["npx", "vite", "build"]], { statics: "build" }, ["/", "/about"]],
  ["eleventy", "Eleventy", eleventy, [["npx", "@11ty/eleventy"]], { statics: "_site" }, ["/", "/about/"]],
  ["vitepress", "VitePress", vitepress, [["npx", "vitepress", "build"]], { statics: ".vitepress/dist" }, ["/", "/guide"]],
];

const peer = (entry) => entry.statics ? { peer: "statics", entry: [...(entry.flags ?? []), entry.statics] } : { peer: "node", entry };

const built = table.map(([name, title, files, build, entry, requests, expected]) => ({
  name: `framework-${name}`,
  group: "Frameworks",
  title,
  files,
  build: [install, ...build],
  buildEnv: { NEXT_TELEMETRY_DISABLED: "1", ASTRO_TELEMETRY_DISABLED: "1", NUXT_TELEMETRY_DISABLED: "1", NITRO_TELEMETRY_DISABLED: "1" },
  ...peer(entry),
  requests,
  mask,
  expected,
}));

// The output folder alone, as it is copied to a host.
const outputs = [
  ["sveltekit", "SvelteKit, `build` alone", [["build", "."]], ["index.js"], ["/", "/?a=1", "/api", "/robots.txt", "/none"]],
  ["nitro", "Nitro, `.output` alone", [[".output", "."]], ["server/index.mjs"], ["/", "/hello/ada?x=1", "/none"]],
  ["nuxt", "Nuxt 4, `.output` alone", [[".output", "."]], ["server/index.mjs"], ["/api/hello", "/robots.txt", "/"]],
  ["next-standalone", "Next.js, `.next/standalone` with its static files", [[".next/standalone", "."], [".next/static", ".next/static"], ["public", "public"]], ["server.js"], ["/", "/about", "/api/hello", "/robots.txt"]],
  ["next-export", "Next.js, `out` alone", [["out", "."]], { statics: "." }, ["/", "/about", "/robots.txt"]],
  ["vite", "Vite, `dist` alone", [["dist", "."]], { statics: ".", flags: ["--single"] }, ["/", "/robots.txt", { path: "/deep/link", headers: { accept: "text/html" } }]],
  ["astro-static", "Astro, `dist` alone", [["dist", "."]], { statics: "." }, ["/", "/about/", "/robots.txt"]],
  ["vitepress", "VitePress, `.vitepress/dist` alone", [[".vitepress/dist", "."]], { statics: "." }, ["/", "/guide"]],
];

const alone = outputs.map(([name, title, copy, entry, requests]) => ({
  name: `output-${name}`,
  group: "Frameworks",
  title,
  of: `framework-${name}`,
  copy,
  ...peer(entry),
  requests,
  mask,
}));

// Each copy behind what it copies.
export default built.flatMap((one) => [one, ...alone.filter(({ of }) => of === one.name)]);
