// A server that answers with what it sees of a request, by the first name in the path.

const drain = async (body) => {
  const reader = body.getReader();
  let length = 0;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return length;
    length += value.length;
  }
};
const routes = {
  head: (r, info) => ({ method: r.method, url: r.url, headers: [...r.headers], address: info.remoteAddr }),
  header: (r) => ["cookie", "X-Two", "x-deno-client-address", "none"].map((name) => r.headers.get(name)),
  info: (_, info) => [info.constructor.name, Object.keys(info), info.completed instanceof Promise],
  defaults: (r) => [r.redirect, r.cache, r.mode, r.credentials, r.signal.aborted, r.bodyUsed, r.integrity],
  inspected: (r) => Deno.inspect(r),
  text: (r) => r.text(),
  json: (r) => r.json(),
  length: async (r) => (await r.arrayBuffer()).byteLength,
  bytes: async (r) => [...await r.bytes()].length,
  blob: async (r) => [(await r.blob()).size, (await r.blob().catch((e) => e.message))],
  form: async (r) => [...await r.formData()],
  drained: (r) => drain(r.body),
  body: (r) => [r.body === null, r.body instanceof ReadableStream],
  twice: async (r) => [await r.text(), r.bodyUsed, await r.text().catch((e) => `${e}`)],
  cloned: async (r) => { const copy = r.clone(); return [await r.text(), await copy.text()]; },
  tee: async (r) => { const [a, b] = r.body.tee(); return Promise.all([drain(a), drain(b)]); },
  remade: async (r) => { const copy = new Request(r); return [copy.method, copy.url, await copy.text()]; },
  unread: () => "unread",
  cancelled: async (r) => { await r.body?.cancel(); return "cancelled"; },
  part: async (r) => {
    const reader = r.body.getReader();
    const { value } = await reader.read();
    await reader.cancel();
    return value.length > 0;
  },
  upgrade: (r) => { try { Deno.upgradeWebSocket(r); } catch (error) { return `${error}`; } },
};
Deno.serve(async (request, info) => {
  const name = new URL(request.url).pathname.split("/").pop();
  if (name === "") return Response.json(Object.keys(routes));
  if (name === "pass") return new Response(request.body, { headers: request.headers });
  try {
    return Response.json(await routes[name](request, info) ?? null);
  } catch (error) {
    return new Response(`${error}`, { status: 500 });
  }
});
