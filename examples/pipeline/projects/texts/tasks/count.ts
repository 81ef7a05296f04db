// The second step: its input is the result of the step before. `config` is its part of taskConfig.
import { words } from "../lib/words.ts";

interface Context {
  input: { names: string[]; text: string };
  config: { most: number };
}

export default function ({ input, config }: Context) {
  const counts = new Map<string, number>();
  for (const word of words(input.text)) counts.set(word, (counts.get(word) ?? 0) + 1);
  const sorted = [...counts].sort(([one, n], [other, m]) => m - n || one.localeCompare(other));
  return { names: input.names, words: sorted.slice(0, config.most) };
}
