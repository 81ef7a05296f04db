// Keeps compiled code that the project brings from V8. V8 runs bytecode as it is given it: it looks
// whether that fits its release and the length of the source, and not at what it does to memory. So
// what node:vm takes as `cachedData` is never used, and is said to be rejected, as V8 does with what
// another release has made: scripts are compiled from their source. Called with what Deno's module
// exports, when that is loaded.
(vm) => {
  const { ObjectDefineProperty, ReflectConstruct } = __bootstrap.primordials;
  const { Script, compileFunction, runInContext, runInNewContext, runInThisContext } = vm;

  const isObject = (value) =>
    typeof value === "function" || (typeof value === "object" && value !== null);

  // Whatever a getter or a proxy answers, and whenever.
  const without = (options) =>
    isObject(options) ? { __proto__: options, cachedData: undefined } : options;
  const copyWithout = (options) =>
    isObject(options) ? { ...options, cachedData: undefined } : options;

  function rejected(compiled, options) {
    if (isObject(options) && options.cachedData !== undefined) compiled.cachedDataRejected = true;
    return compiled;
  }

  function Script_(code, options) {
    return rejected(ReflectConstruct(Script, [code, without(options)], new.target), options);
  }
  Script_.prototype = Script.prototype;
  // The one that was is nobody's.
  ObjectDefineProperty(Script.prototype, "constructor", { __proto__: null, value: Script_ });

  const replacements = {
    __proto__: null,
    Script: Script_,
    createScript: (code, options) => new Script_(code, options),
    compileFunction: (code, params, options) =>
      rejected(compileFunction(code, params, without(options)), options),
    runInThisContext: (code, options) => runInThisContext(code, without(options)),
    // Of their options these see what is their own alone.
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
}
