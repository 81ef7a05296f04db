import { money } from "@example/money";

export const prices = { Bread: money(420), Cheese: money(1180) };
