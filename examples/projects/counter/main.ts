// A stream that counts, one server-sent event a second, through plain Deno.serve. Reload while it counts:
// a stream that has begun stays with the version that it began on.
Deno.serve((request) => {
  const { pathname } = new URL(request.url);
  return pathname === "/events" ? counting() : page(request);
});

function counting(): Response {
  let count = 0;
  let timer: ReturnType<typeof setInterval>;
  const body = new ReadableStream<string>({
    start(controller) {
      const tick = () => controller.enqueue(`data: ${++count}\n\n`);
      tick();
      timer = setInterval(tick, 1000);
    },
    cancel() {
      clearInterval(timer);
    },
  });
  return new Response(body.pipeThrough(new TextEncoderStream()), {
    headers: { "content-type": "text/event-stream", "cache-control": "no-store" },
  });
}

function page(request: Request): Response {
  const prefix = request.headers.get("x-forwarded-prefix") ?? "";
  const html = `<!doctype html><meta charset="utf-8"><title>Counter</title>
<style>body { font: 12rem/1 system-ui; display: grid; place-items: center; height: 90vh }</style>
<output>…</output>
<script>
  new EventSource("${prefix}/events").onmessage = ({ data }) => document.querySelector("output").value = data;
</script>`;
  return new Response(html, { headers: { "content-type": "text/html; charset=utf-8" } });
}
