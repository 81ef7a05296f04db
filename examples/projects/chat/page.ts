export default function page(request: Request): Response {
  const prefix = request.headers.get("x-forwarded-prefix") ?? "";
  const html = `<!doctype html><meta charset="utf-8"><title>Chat</title><link rel="icon" href="data:,">
<style>body { font: 1.1rem/1.6 system-ui; max-width: 36rem; margin: 3rem auto } input { font: inherit; width: 100% }</style>
<ol></ol>
<form><input autofocus placeholder="Say something"></form>
<script>
  const [list, form, input] = ["ol", "form", "input"].map((name) => document.querySelector(name));
  // When its version is retired the socket closes: the next one is answered by the new version.
  function connect() {
    const socket = new WebSocket(location.origin.replace("http", "ws") + "${prefix}/");
    socket.onmessage = ({ data }) => list.append(Object.assign(document.createElement("li"), { textContent: data }));
    socket.onclose = () => setTimeout(connect, 1000);
    form.onsubmit = (event) => {
      event.preventDefault();
      socket.send(input.value);
      form.reset();
    };
  }
  connect();
</script>`;
  return new Response(html, { headers: { "content-type": "text/html; charset=utf-8" } });
}
