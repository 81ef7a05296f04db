// The registry: names of steps, and their modules. It is read anew for each step of a pipeline whose
// "version" is "step", as is the step's module with everything that it imports.
export default {
  collect: "./collect.ts",
  count: "./count.ts",
  publish: "./publish.ts",
};
