//! Compiled code of projects (`cachedData` of node:vm). V8 would run it unchecked, so it is
//! rejected and the source is compiled.

use serde_json::json;
use switchyard_integration::router::Router;
use switchyard_integration::volume::Volume;

/// Tries each way to pass compiled code to V8: that of another source of the same length, which V8
/// accepts for this one.
const TRIES: &str = r#"import vm, { compileFunction, Script } from "node:vm";
import { createRequire } from "node:module";
const required = createRequire(import.meta.url)("vm");
const ONE = "20 + 1", OTHER = "70 + 7";
const compiled = new Script(ONE, { produceCachedData: true }).cachedData;
const body = compileFunction(`return ${ONE}`, [], { produceCachedData: true }).cachedData;
// An object that returns something else at the second read.
const late = () => {
  let asked = 0;
  return { filename: "late", get cachedData() { return asked++ ? compiled : undefined; } };
};
const copied = Object.assign(() => {}, { filename: "copied", cachedData: compiled });
const run = (script) => [script.runInThisContext(), script.cachedDataRejected];
const call = (made) => [made(), made.cachedDataRejected];
let files = 0;
const options = (cachedData = compiled) => ({ filename: `f${files++}`, cachedData });
export function attempt() {
  const context = vm.createContext({});
  const plain = new Script(ONE, { filename: "plain" });
  class Mine extends Script {}
  return {
    Script: run(new Script(OTHER, options())),
    required: run(new required.Script(OTHER, options())),
    "its constructor": run(new plain.constructor(OTHER, options())),
    subclass: run(new Mine(OTHER, options())),
    createScript: run(vm.createScript(OTHER, options())),
    compileFunction: call(compileFunction(`return ${OTHER}`, [], options(body))),
    runs: [
      vm.runInThisContext(OTHER, options()),
      vm.runInContext(OTHER, context, options()),
      vm.runInNewContext(OTHER, {}, options()),
      vm.runInContext(OTHER, context, copied),
      new Script(OTHER, late()).runInThisContext(),
      vm.runInContext(OTHER, context, late()),
    ],
    plain: [...run(plain), plain instanceof Script, plain.createCachedData().length > 0],
    named: [Script.name, vm.runInContext.name, new Mine(ONE) instanceof Mine],
  };
}
"#;

const MAIN: &str = r#"import { attempt } from "./tries.mjs";
async function inWorker() {
  const worker = new Worker(import.meta.resolve("./worker.mjs"), { type: "module" });
  const { promise, resolve } = Promise.withResolvers();
  worker.onmessage = ({ data }) => resolve(data);
  return await promise.finally(() => worker.terminate());
}
export default {
  async fetch(request) {
    return Response.json(await (new URL(request.url).pathname === "/worker" ? inWorker() : attempt()));
  },
};
"#;

#[tokio::test]
async fn compiled_code_of_the_projects_own_is_rejected_and_its_source_is_compiled() {
    let volume = Volume::new();
    volume.write("a/tries.mjs", TRIES);
    volume.write("a/worker.mjs", "import { attempt } from './tries.mjs';\npostMessage(attempt());\n");
    volume.write("a/main.mjs", MAIN);
    let router = Router::start(&volume).await;
    let rejected = json!([77, true]);
    let expected = json!({
        "Script": rejected,
        "required": rejected,
        "its constructor": rejected,
        "subclass": rejected,
        "createScript": rejected,
        "compileFunction": rejected,
        "runs": [77, 77, 77, 77, 77, 77],
        "plain": [21, false, true, true],
        "named": ["Script", "runInContext", true],
    });
    for path in ["/a/", "/a/worker"] {
        assert_eq!(router.public.get(path).await.json(), expected, "{path}");
    }
}
