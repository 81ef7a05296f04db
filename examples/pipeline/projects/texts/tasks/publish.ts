// The last step: its result is the pipeline's. It also leaves a file in DATA_DIR.
interface Context {
  run: { id: string };
  input: { names: string[]; words: [string, number][] };
}

export default async function ({ run, input }: Context) {
  const lines = input.words.map(([word, count]) => `${word}: ${count}`);
  await Deno.writeTextFile(`${Deno.env.get("DATA_DIR")}/words.txt`, lines.join("\n") + "\n");
  console.log(`published by ${run.id}`);
  return lines;
}
