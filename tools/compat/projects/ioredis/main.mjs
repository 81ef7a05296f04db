import http from "node:http";
import Redis from "ioredis";

http.createServer(async (_request, response) => {
  const redis = new Redis({ host: "127.0.0.1", port: 1, lazyConnect: true, retryStrategy: () => null });
  redis.on("error", () => {});
  const error = await redis.connect().catch((error) => error);
  response.end(JSON.stringify({ name: error?.name, refused: error instanceof Error }));
}).listen(process.env.PORT ?? 3000);
