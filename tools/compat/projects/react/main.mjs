import { createElement as h, Suspense, use } from "react";
import { renderToReadableStream } from "react-dom/server";

const Late = ({ text }) => h("p", null, use(text));
Deno.serve(async () => {
  const text = new Promise((done) => setTimeout(done, 50, "late"));
  const page = h("main", null, h("h1", null, "React"), h(Suspense, { fallback: "wait" }, h(Late, { text })));
  return new Response(await renderToReadableStream(page), { headers: { "content-type": "text/html" } });
});
