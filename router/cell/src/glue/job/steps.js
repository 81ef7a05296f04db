// @ts-check
// `ctx.step`: steps whose results are kept, so that a later attempt of the run gets them without
// doing the work again.

import { primordials } from "ext:core/mod.js";
import { messageOf, toJson } from "ext:switchyard/job/json.js";

const {
  ArrayPrototypePush,
  ArrayPrototypeSplice,
  Error,
  JSONParse,
  JSONStringify,
  Promise,
  ReflectApply,
  SafeArrayIterator,
  SafeMap,
  SafeRegExp,
  SafeSet,
  RegExpPrototypeExec,
  StringPrototypeSlice,
  TypeError,
} = primordials;

// Steps of one run, as `switchyard_contract::bounds::MAX_STEPS`.
const MAX_STEPS = 1000;

// Steps that wait for their answers at once. Further ones wait for their turn.
const MAX_PENDING = 64;

// Characters of a step's name.
const MAX_NAME = 200;

// Characters of an error's message.
const MAX_MESSAGE = 2000;

const NAME = new SafeRegExp("^[^\\x00-\\x1f\\x7f]+$");

// `journal`: the steps that an earlier attempt has finished. `send` sends a question and returns
// the reason if it is refused.
export default function makeSteps(journal, maxResult, send) {
  const done = new SafeMap();
  for (const { step, result } of new SafeArrayIterator(journal)) {
    done.set(step, JSONStringify(result));
  }
  const ids = new SafeSet();
  const pending = new SafeMap();
  const waiting = [];
  let next = 0;
  let aborted;

  const settled = (number) => {
    pending.delete(number);
    if (waiting.length > 0) ArrayPrototypeSplice(waiting, 0, 1)[0]();
  };

  // Asks the bridge and returns its answer's result.
  const ask = async (name, question) => {
    while (pending.size >= MAX_PENDING && aborted === undefined) {
      await new Promise((resolve) => ArrayPrototypePush(waiting, resolve));
    }
    if (aborted !== undefined) throw aborted;
    const number = next++;
    const answered = new Promise((resolve) => pending.set(number, resolve));
    const refused = send(`{"number":${number},"name":${JSONStringify(name)},"ask":${question}}`);
    if (refused !== undefined) {
      settled(number);
      throw new TypeError(`step "${name}": ${refused}`);
    }
    const { result, error } = await answered;
    if (aborted !== undefined) throw aborted;
    if (error === null || error === undefined) return result;
    /** @type {any} */
    const failure = new Error(`step "${name}" failed: ${error.message}`);
    failure.reason = error.reason;
    throw failure;
  };

  // Returns the name under which a step is kept: a second one of the same name has `#2`.
  const identify = (name) => {
    if (ids.size >= MAX_STEPS) {
      throw new TypeError(`A run has at most ${MAX_STEPS} steps: start further runs for more`);
    }
    let id = name;
    for (let use = 2; ids.has(id); use++) id = `${name}#${use}`;
    ids.add(id);
    return id;
  };

  const step = async (name, work, input) => {
    if (
      typeof name !== "string" || RegExpPrototypeExec(NAME, name) === null || name.length > MAX_NAME
    ) {
      throw new TypeError(
        `ctx.step(name, work, input): the name has to be 1 to ${MAX_NAME} printable characters`,
      );
    }
    if (typeof work !== "function" && (typeof work !== "string" || work === "")) {
      throw new TypeError(
        `ctx.step("${name}", work): work has to be a function, or the name of a task of this project`,
      );
    }
    const id = identify(name);
    if (done.has(id)) return JSONParse(done.get(id));
    if (typeof work === "string") {
      const text = toJson(input, `the input of step "${id}"`, maxResult);
      return await ask(id, `{"kind":"task","task":${JSONStringify(work)},"input":${text}}`);
    }
    await ask(id, `{"kind":"begin"}`);
    let text;
    try {
      const result = await ReflectApply(work, undefined, [input]);
      text = toJson(result, `the result of step "${id}"`, maxResult);
    } catch (error) {
      const message = StringPrototypeSlice(messageOf(error), 0, MAX_MESSAGE);
      const told = JSONStringify({ __proto__: null, reason: "threw", message });
      try {
        await ask(id, `{"kind":"failed","error":${told}}`);
      } catch {
        // The failure of the step itself says more.
      }
      throw error;
    }
    await ask(id, `{"kind":"keep","result":${text}}`);
    // The same value that a later attempt gets.
    return JSONParse(text);
  };

  return {
    __proto__: null,
    step,
    // Takes the answer to a question, as JSON.
    reply(json) {
      const answer = JSONParse(json);
      const resolve = pending.get(answer.number);
      if (resolve === undefined) return;
      settled(answer.number);
      resolve(answer);
    },
    // Ends all waiting with an error.
    abort(error) {
      aborted = error;
      pending.forEach((resolve) => resolve({ __proto__: null }));
      pending.clear();
      while (waiting.length > 0) ArrayPrototypeSplice(waiting, 0, 1)[0]();
    },
    isWaiting: () => pending.size > 0,
  };
}
