// @ts-check
// Keeps a project's compiled code from V8, which runs bytecode without verifying its use of memory:
// it compares only its own release and the length of the source. So node:vm never uses `cachedData`
// and reports it as rejected, as V8 does with the code of another release: scripts are compiled
// from their source. Called with the exports of Deno's module when that is loaded.
((vm) => {
  const { ObjectDefineProperty, ReflectConstruct } = __bootstrap.primordials;
  const { Script, compileFunction, runInContext, runInNewContext, runInThisContext } = vm;

  const isObject = (value) =>
    typeof value === "function" || (typeof value === "object" && value !== null);

  // Hides the property even from getters and proxies.
  const without = (options) =>
    isObject(options) ? { __proto__: options, cachedData: undefined } : options;
  const copyWithout = (options) =>
    isObject(options) ? { ...options, cachedData: undefined } : options;

  function rejected(compiled, options) {
    if (isObject(options) && options.cachedData !== undefined) compiled.cachedDataRejected = true;
    return compiled;
  }

  function GuardedScript(code, options) {
    return rejected(ReflectConstruct(Script, [code, without(options)], new.target), options);
  }
  GuardedScript.prototype = Script.prototype;
  // Makes the original class unreachable.
  ObjectDefineProperty(Script.prototype, "constructor", { __proto__: null, value: GuardedScript });

  const replacements = {
    __proto__: null,
    Script: GuardedScript,
    createScript: (code, options) => ReflectConstruct(GuardedScript, [code, options]),
    compileFunction: (code, params, options) =>
      rejected(compileFunction(code, params, without(options)), options),
    runInThisContext: (code, options) => runInThisContext(code, without(options)),
    // These functions read only own properties of their options.
    runInContext: (code, context, options) => runInContext(code, context, copyWithout(options)),
    runInNewContext: (code, context, options) =>
      runInNewContext(code, context, copyWithout(options)),
  };
  for (const name in replacements) {
    const value = replacements[name];
    ObjectDefineProperty(value, "name", { __proto__: null, value: name });
    vm[name] = vm.default[name] = value;
  }
  return vm;
});
