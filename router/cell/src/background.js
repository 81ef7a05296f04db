// Work that goes on after its request was answered, as the platforms' `waitUntil` has it: a version that is drained waits
// for it.

import { primordials } from "ext:core/mod.js";

const { Promise, PromisePrototypeThen, PromiseResolve, ReflectApply } = primordials;
const { error } = console;

let pending = 0;
let allDone, done;

function settled() {
  pending -= 1;
  if (pending === 0 && allDone !== undefined) ReflectApply(allDone, undefined, []);
}

// Takes a promise, or any other value.
export function waitUntil(value) {
  pending += 1;
  PromisePrototypeThen(PromiseResolve(Promise, value), settled, (reason) => {
    error("What was left to waitUntil was rejected:", reason);
    settled();
  });
}

// Gives a promise that is fulfilled when nothing is left, or `undefined` when nothing is left now.
export default function idle() {
  if (pending === 0) return;
  done ??= new Promise((resolve) => allDone = resolve);
  return done;
}
