// The first step: its input is the pipeline's, a list of names. Without one, all texts are read.
interface Context {
  input: string[] | null;
}

const TEXTS = new URL("../texts/", import.meta.url);

export default async function ({ input }: Context) {
  const names = input ?? Array.from(Deno.readDirSync(TEXTS), (entry) => entry.name).sort();
  const texts = await Promise.all(names.map((name) => Deno.readTextFile(new URL(name, TEXTS))));
  console.log(`${names.length} texts`);
  return { names, text: texts.join("\n") };
}
