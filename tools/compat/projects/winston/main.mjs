import http from "node:http";
import winston from "winston";

const log = winston.createLogger({ format: winston.format.json(), transports: [new winston.transports.Console()] });
http.createServer((_request, response) => {
  log.info("asked of winston");
  response.end("logged");
}).listen(process.env.PORT ?? 3000);
