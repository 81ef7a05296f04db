// Handlers of all kinds of responses, by the first name in the path.

const bytes = (text) => new TextEncoder().encode(text);
const later = (ms = 1) => new Promise((done) => setTimeout(done, ms));
const stream = (...chunks) => new ReadableStream({
  async pull(controller) {
    let chunk = chunks.shift();
    while (chunk === "later") {
      await later();
      chunk = chunks.shift();
    }
    if (chunk === undefined) controller.close();
    else if (chunk instanceof Error) throw chunk;
    else controller.enqueue(bytes(chunk));
  },
});
const used = new Response("used");
const routes = {
  text: () => new Response("hi"),
  unicode: () => new Response("häßlich 😀 \ud800"),
  latin: () => new Response("\xe4\xff"),
  json: () => Response.json({ a: [1, "ü"] }),
  bytes: () => new Response(new Uint8Array([0, 255, 10])),
  buffer: () => new Response(new Uint8Array([1, 2, 3]).buffer),
  nothing: () => new Response(null),
  emptyText: () => new Response(""),
  noContent: () => new Response(null, { status: 204 }),
  reset: () => new Response(null, { status: 304, headers: { etag: '"a"', "content-length": "12" } }),
  status: () => new Response("teapot", { status: 418, statusText: "I am" }),
  headers: () => {
    const headers = new Headers({ "X-Upper": "A", "x-latin": "\xe4", "cache-control": "no-store" });
    headers.append("set-cookie", "a=1");
    headers.append("set-cookie", "b=2");
    headers.append("x-two", "1");
    headers.append("x-two", "2");
    return new Response("body", { headers });
  },
  type: () => new Response("{}", { headers: { "content-type": "application/json" } }),
  control: () => new Response("x", { headers: { "x-control": "a\x01b" } }),
  wrongLength: () => new Response("four", { headers: { "content-length": "99" } }),
  chunked: () => new Response("four", { headers: { "transfer-encoding": "chunked" } }),
  redirect: () => Response.redirect("http://other.example/x", 307),
  large: () => new Response("äx".repeat(400_000)),
  largeBytes: () => new Response(new Uint8Array(1_000_003).fill(7)),
  window: () => new Response("w".repeat(256 << 10)),
  frame: () => new Response("f".repeat(64 << 10)),
  stream: () => new Response(stream("a", "b", "c")),
  slowStream: () => new Response(stream("a", "later", "b", "later", "c")),
  emptyStream: () => new Response(stream()),
  lengthStream: () => new Response(stream("ab", "later", "cd"), { headers: { "content-length": "4" } }),
  cutStream: () => new Response(stream("ab", "later", "cd"), { headers: { "content-length": "3" } }),
  shortStream: () => new Response(stream("ab"), { headers: { "content-length": "3" } }),
  zeroStream: () => new Response(stream("ab"), { headers: { "content-length": "0" } }),
  failingStream: () => new Response(stream("a", "later", new Error("broken"))),
  largeStream: () => new Response(stream(...Array(40).fill("s".repeat(50_000)))),
  file: async () => new Response((await Deno.open(import.meta.filename)).readable),
  blob: () => new Response(new Blob(["blob"], { type: "text/css" })),
  parameters: () => new Response(new URLSearchParams({ a: "1 2" })),
  iterator: () => new Response((async function* () { yield bytes("x"); yield bytes("y"); })()),
  remade: () => { const old = new Response("old"); return new Response(old.body, { headers: { a: "b" } }); },
  cloned: () => new Response("cloned").clone(),
  async promise() { await later(); return new Response("late"); },
  throws() { throw new Error("thrown"); },
  async rejects() { await later(); throw new Error("rejected"); },
  wrong: () => "text",
  wrongLater: async () => undefined,
  error: () => Response.error(),
  used: async () => { await used.text().catch(() => {}); return used; },
  fake: () => Object.create(Response.prototype),
  switching: () => new Response(null, { status: 101 }),
};
const handler = (request) => {
  const name = new URL(request.url).pathname.split("/").pop();
  return name === "" ? Response.json(Object.keys(routes)) : routes[name](request);
};
