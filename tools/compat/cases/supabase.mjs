// A folder of Supabase's edge functions, with what its documentation has in it. Stock Deno serves each function under its name.
export const roots = {
  functions: {
    "_shared/cors.ts": "export const corsHeaders = {\n  'Access-Control-Allow-Origin': '*',\n  'Access-Control-Allow-Headers': 'authorization, x-client-info, apikey, content-type',\n};\n",
    "import_map.json": '{"imports": {"cors": "./_shared/cors.ts", "hono": "npm:hono@4"}}',
    "main/index.ts": "Deno.serve(async (req) => {\n  const worker = await EdgeRuntime.userWorkers.create({ servicePath: '/home/deno/functions/hello' });\n  return await worker.fetch(req);\n});\n",
  },
};

const background = "globalThis.EdgeRuntime ??= { waitUntil: (promise) => promise };\n";

const table = [
  ["hello", "shared headers and JSON", "import { corsHeaders } from '../_shared/cors.ts';\nDeno.serve(async (req) => {\n  if (req.method === 'OPTIONS') return new Response('ok', { headers: corsHeaders });\n  const { name } = await req.json();\n  return new Response(JSON.stringify({ message: `Hello ${name}!` }), { headers: { ...corsHeaders, 'Content-Type': 'application/json' } });\n});\n", [{ method: "OPTIONS", path: "/hello" }, { method: "POST", path: "/hello", headers: { "content-type": "application/json" }, body: '{"name":"Functions"}' }]],
  ["withmap", "the import map of the root", "import { corsHeaders } from 'cors';\nDeno.serve(() => new Response('mapped', { headers: corsHeaders }));\n", ["/withmap"]],
  ["greet_user", "a name with _", "Deno.serve((req) => new Response(new URL(req.url).pathname));\n", ["/greet_user", "/greet_user/x"]],
  ["Upper", "a name with capitals", "Deno.serve((req) => new Response(new URL(req.url).pathname));\n", ["/Upper/x"]],
  ["rest", "routing with URLPattern", "const task = new URLPattern({ pathname: '/rest/tasks/:id' });\nDeno.serve((req) => {\n  const match = task.exec(req.url);\n  return match ? Response.json({ id: match.pathname.groups.id, method: req.method }) : new Response('no route', { status: 404 });\n});\n", ["/rest/tasks/1", "/rest", { method: "DELETE", path: "/rest/tasks/2" }]],
  ["router", "Hono with a base path", "import { Hono } from 'hono';\nconst app = new Hono().basePath('/router');\napp.get('/hello', (c) => c.text('hello'));\napp.post('/echo', async (c) => c.json(await c.req.json()));\nDeno.serve(app.fetch);\n", ["/router/hello", { method: "POST", path: "/router/echo", headers: { "content-type": "application/json" }, body: '{"a":1}' }]],
  ["background", "EdgeRuntime.waitUntil", `${background}Deno.serve(() => {\n  EdgeRuntime.waitUntil(new Promise((done) => setTimeout(done, 10)));\n  return new Response('ok');\n});\n`, ["/background"]],
  ["tmpfile", "a file in /tmp", "Deno.serve(async () => {\n  await Deno.writeTextFile('/tmp/compat-supabase.txt', 'written');\n  const text = await Deno.readTextFile('/tmp/compat-supabase.txt');\n  await Deno.remove('/tmp/compat-supabase.txt');\n  return new Response(text);\n});\n", ["/tmpfile"]],
  ["stream", "a stream", "Deno.serve(() => new Response(ReadableStream.from(['a\\n', 'b\\n']).pipeThrough(new TextEncoderStream()), { headers: { 'content-type': 'text/event-stream' } }));\n", ["/stream"]],
];

export default table.map(([name, title, code, requests]) => ({
  name,
  root: "functions",
  group: "Supabase Edge Functions",
  title,
  files: { "index.ts": code },
  peer: "deno",
  entry: ["--import-map", "../import_map.json", "index.ts"],
  requests,
  // By the path that Supabase's gateway has; a function sees it without the prefix.
  prefix: "/functions/v1",
}));
