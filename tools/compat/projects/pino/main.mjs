import http from "node:http";
import pino from "pino";

const log = pino();
http.createServer((request, response) => {
  log.info({ url: request.url }, "asked of pino");
  response.end("logged");
}).listen(process.env.PORT ?? 3000);
