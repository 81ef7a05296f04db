import { createServer } from "node:http";
import { WebSocketServer } from "ws";

const http = createServer((_request, response) => response.end("plain"));
const server = new WebSocketServer({ server: http });
server.on("connection", (socket, request) => {
  socket.send(`hello ${request.socket.remoteAddress}`);
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
});
http.listen(process.env.PORT ?? 8080);
