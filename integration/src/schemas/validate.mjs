// Compiles the schemas in a folder, then answers each line `[schema, content]` with what is wrong, or null.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import readline from 'node:readline';

const [folder, modules] = process.argv.slice(2);
const Ajv = createRequire(`${modules}/`)('ajv/dist/2020').default;

const ajv = new Ajv({ strict: false });
const names = fs.readdirSync(folder);
for (const name of names) ajv.addSchema(JSON.parse(fs.readFileSync(`${folder}/${name}`, 'utf8')), name);
for (const name of names) ajv.getSchema(name);

for await (const line of readline.createInterface({ input: process.stdin })) {
  const [name, content] = JSON.parse(line);
  const validate = ajv.getSchema(name);
  const complaint = validate(content) ? null : ajv.errorsText(validate.errors, { dataVar: 'the file' });
  process.stdout.write(`${JSON.stringify(complaint)}\n`);
}
