import { generateKeyPair, jwtVerify, SignJWT } from "jose";

const { publicKey, privateKey } = await generateKeyPair("ES256");
Deno.serve(async () => {
  const token = await new SignJWT({ user: "ada" }).setProtectedHeader({ alg: "ES256" }).setExpirationTime("1h").sign(privateKey);
  const { payload } = await jwtVerify(token, publicKey);
  return Response.json({ user: payload.user });
});
