// @ts-check
// The module `cloudflare:workers`.

export { waitUntil } from "ext:switchyard/background.js";
export { env, WorkerEntrypoint } from "ext:switchyard/workers/main.js";

// Returns a class whose objects exist only on Cloudflare's network.
function elsewhere(name, instead) {
  return {
    [name]: class {
      constructor() {
        throw new Error(
          `${name} is part of Cloudflare's network, which Switchyard does not have: ${instead}`,
        );
      }
    },
  }[name];
}

export const DurableObject = elsewhere("DurableObject", "keep its state in Deno.openKv()");
export const WorkflowEntrypoint = elsewhere(
  "WorkflowEntrypoint",
  "call the steps one after the other",
);
export class RpcTarget {}
export class RpcStub {}
