// A workspace of Deno's: this app, and a library beside it that others could share. A change in either reloads it.
import { format, type Money, sum } from "@example/money";
import { prices } from "~/prices.ts";

export default {
  fetch(): Response {
    const lines = Object.entries(prices).map(([name, price]: [string, Money]) => `${name}: ${format(price)}`);
    const total = sum(Object.values(prices));
    return new Response([...lines, `Total: ${format(total)}`, ""].join("\n"));
  },
};
