// @ts-check
// Modules that are written as stages: functions of fixed names that are called in their order, each
// with what the ones before it have returned.

import { primordials } from "ext:core/mod.js";
import makeFiles from "ext:switchyard/job/files.js";
import { unavailable } from "ext:switchyard/job/interfaces.js";

const {
  ArrayPrototypeIncludes,
  ArrayPrototypePush,
  ObjectAssign,
  ReflectApply,
  SafeArrayIterator,
  TypeError,
} = primordials;

const NAMES = [
  "ingestion",
  "preProcessing",
  "promptTemplating",
  "inference",
  "parsing",
  "validateStructure",
  "validateQuality",
  "critique",
  "refine",
  "finalValidation",
  "integration",
];

// Stages that are skipped unless the flag `needsRefinement` is true.
const REFINEMENT = ["critique", "refine", "finalValidation"];

// Returns the stages that an object has, in their order. Empty: it has none.
export function stagesOf(object) {
  const stages = [];
  if (typeof object !== "object" || object === null) return stages;
  for (const name of new SafeArrayIterator(NAMES)) {
    const run = object[name];
    if (typeof run === "function") ArrayPrototypePush(stages, { __proto__: null, name, run });
  }
  return stages;
}

// Calls the stages. Returns the output of the last one.
export async function runStages(stages, context, data) {
  const { pipeline } = context;
  // In a pipeline the seed is that of the whole, and the steps before are data too.
  const outputs = pipeline === null || pipeline === undefined
    ? { seed: context.input }
    : { ...pipeline.results, seed: pipeline.input };
  const flags = {};
  let output = context.input;
  const shared = {
    ...context,
    io: makeFiles(data, context.run),
    llm: unavailable("llm", "call the provider's API with fetch, and let the policy grant its key"),
    validators: unavailable("validators", "import a validator, for instance npm:ajv"),
  };
  for (const { name, run } of new SafeArrayIterator(stages)) {
    if (ArrayPrototypeIncludes(REFINEMENT, name) && flags.needsRefinement !== true) continue;
    const meta = { taskName: context.run.task, jobId: context.run.id, currentStage: name };
    const given = {
      ...shared,
      data: { ...outputs },
      flags: { ...flags },
      output,
      currentStage: name,
      meta,
    };
    const result = await ReflectApply(run, undefined, [given]);
    if (typeof result !== "object" || result === null || !("output" in result)) {
      throw new TypeError(`The stage ${name} has to return { output, flags }`);
    }
    output = outputs[name] = result.output;
    if (result.flags !== undefined) ObjectAssign(flags, result.flags);
  }
  return output;
}
