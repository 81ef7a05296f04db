import bcrypt from "bcryptjs";

Deno.serve(async () => {
  const hash = await bcrypt.hash("correct horse", 8);
  const [right, wrong] = await Promise.all([bcrypt.compare("correct horse", hash), bcrypt.compare("battery", hash)]);
  return Response.json({ right, wrong });
});
