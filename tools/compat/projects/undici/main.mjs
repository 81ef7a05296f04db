import http from "node:http";
import { Agent, request } from "undici";

const dispatcher = new Agent({ keepAliveTimeout: 100 });
http.createServer(async (_request, response) => {
  const { statusCode, body } = await request(process.env.UPSTREAM, { method: "POST", body: '{"from":"undici"}', dispatcher });
  response.end(JSON.stringify({ status: statusCode, data: await body.json() }));
}).listen(process.env.PORT ?? 3000);
