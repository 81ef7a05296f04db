import { z } from "zod";

const User = z.object({ name: z.string().min(1), email: z.email() });
Deno.serve(async (request) => {
  const parsed = User.safeParse(await request.json());
  return Response.json(parsed.success ? parsed.data : z.flattenError(parsed.error), { status: parsed.success ? 200 : 400 });
});
