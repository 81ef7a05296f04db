// A project that includes a folder of the repository: a commit to ../_shared is a new version of it too.
import { euros } from "../_shared/money.ts";

const prices = [4.2, 11.8];

export default {
  fetch: (): Response => new Response(`${prices.map(euros).join(" + ")}\n`),
};
