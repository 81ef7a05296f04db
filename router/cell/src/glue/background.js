// @ts-check
// Work that goes on after its request was answered: promises that the platforms' `waitUntil` was
// given. A drained version waits for them.

import { internals, primordials } from "ext:core/mod.js";

const { Promise, PromisePrototypeThen, PromiseResolve, ReflectApply } = primordials;

let pending = 0;
let allDone, done;

function settled() {
  pending -= 1;
  if (pending === 0 && allDone !== undefined) ReflectApply(allDone, undefined, []);
}

// Takes a promise or any other value.
export function waitUntil(value) {
  pending += 1;
  PromisePrototypeThen(PromiseResolve(value), settled, (reason) => {
    settled();
    internals.log("error", "A promise that waitUntil was given is rejected:", reason);
  });
}

// Returns a promise that is fulfilled when no work is left, or undefined if none is left now.
export default function idle() {
  if (pending === 0) return;
  done ??= new Promise((resolve) => allDone = resolve);
  return done;
}
