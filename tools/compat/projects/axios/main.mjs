import http from "node:http";
import axios from "axios";

http.createServer(async (_request, response) => {
  const got = await axios.post(process.env.UPSTREAM, { from: "axios" });
  const refused = await axios.get(`${process.env.UPSTREAM}/404`).catch((error) => error);
  response.end(JSON.stringify({ status: got.status, data: got.data, refused: refused.response?.status }));
}).listen(process.env.PORT ?? 3000);
