import http from "node:http";
import nodemailer from "nodemailer";

const transport = nodemailer.createTransport({ jsonTransport: true });
http.createServer(async (_request, response) => {
  const { message } = await transport.sendMail({ from: "a@example.com", to: "b@example.com", subject: "Hi", text: "there" });
  response.end(message);
}).listen(process.env.PORT ?? 3000);
