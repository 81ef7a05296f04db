// A chat over WebSockets: each client of this version gets the messages of the others.
import page from "./page.ts";

const sockets = new Set<WebSocket>();

Deno.serve((request) => {
  if (request.headers.get("upgrade") !== "websocket") return page(request);
  const { socket, response } = Deno.upgradeWebSocket(request);
  socket.onopen = () => {
    sockets.add(socket);
    say(`${sockets.size} here`);
  };
  socket.onmessage = ({ data }) => say(data);
  socket.onclose = () => sockets.delete(socket);
  return response;
});

function say(text: string) {
  for (const socket of sockets) {
    if (socket.readyState === WebSocket.OPEN) socket.send(text);
  }
}
