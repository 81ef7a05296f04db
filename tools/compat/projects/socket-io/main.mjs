import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http);
io.on("connection", (socket) => {
  socket.on("say", (text) => io.emit("said", text));
});
http.listen(process.env.PORT ?? 3000);
