// Work that goes on after its request was answered, as the platforms' `waitUntil` has it: a version
// that is drained waits for it.

import { internals, primordials } from "ext:core/mod.js";

const { Promise, PromisePrototypeThen, PromiseResolve, ReflectApply } = primordials;

let pending = 0;
let allDone, done;

function settled() {
  pending -= 1;
  if (pending === 0 && allDone !== undefined) ReflectApply(allDone, undefined, []);
}

// Takes a promise, or any other value.
export function waitUntil(value) {
  pending += 1;
  PromisePrototypeThen(PromiseResolve(value), settled, (reason) => {
    settled();
    internals.log("error", "A promise that waitUntil was given is rejected:", reason);
  });
}

// Gives a promise that is fulfilled when nothing is left, or `undefined` when nothing is left now.
export default function idle() {
  if (pending === 0) return;
  done ??= new Promise((resolve) => allDone = resolve);
  return done;
}
