import express from "express";
import { readFile, unlink } from "node:fs/promises";
import multer from "multer";

const upload = multer({ dest: process.env.TMPDIR });
const app = express();
app.post("/", upload.single("file"), async (request, response) => {
  const { path, originalname, size } = request.file;
  const text = await readFile(path, "utf8");
  await unlink(path);
  response.json({ originalname, size, text, title: request.body.title });
});
app.listen(process.env.PORT ?? 3000);
