export default function page(request: Request): Response {
  const prefix = request.headers.get("x-forwarded-prefix") ?? "";
  const html = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Cron</title><link rel="icon" href="data:,">
<style>body { font: 1.1rem/1.6 system-ui; max-width: 36rem; margin: 3rem auto }</style>
<h1>Every minute</h1>
<p>Not yet.</p>
<ol></ol>
<script>
  const events = new EventSource("${prefix}/events");
  events.onopen = () => document.querySelector("p").textContent = "Listening.";
  events.onmessage = ({ data }) => {
    document.querySelector("ol").append(Object.assign(document.createElement("li"), { textContent: data }));
  };
</script>`;
  return new Response(html, { headers: { "content-type": "text/html; charset=utf-8" } });
}
