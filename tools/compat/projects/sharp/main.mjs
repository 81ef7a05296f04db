import http from "node:http";
import sharp from "sharp";

http.createServer(async (_request, response) => {
  const red = { r: 255, g: 0, b: 0 };
  const png = await sharp({ create: { width: 40, height: 20, channels: 3, background: red } }).resize(20).png().toBuffer();
  const { format, width, height } = await sharp(png).metadata();
  response.end(JSON.stringify({ format, width, height }));
}).listen(process.env.PORT ?? 3000);
