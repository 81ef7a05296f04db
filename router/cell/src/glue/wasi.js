// @ts-check
// Makes node:wasi open the folders that Deno's permissions check. Its native part checks a
// preopened folder by its mapped path and opens the original one: `/tmp`, which stands for the
// project's own folder, would be the machine's. Called with the exports of Deno's module when that
// is loaded.
((wasi) => {
  const { core, primordials } = __bootstrap;
  const { op_fs_realpath_sync } = core.ops;
  const { ObjectDefineProperty, ObjectEntries, ReflectConstruct, SafeArrayIterator, String } =
    primordials;
  const { WASI } = wasi;

  const isObject = (value) =>
    typeof value === "function" || (typeof value === "object" && value !== null);

  // Returns the real path of a folder. A folder that does not exist gets a path that never will: it
  // must not be opened once it exists.
  function realPathOf(folder) {
    try {
      return op_fs_realpath_sync(folder);
    } catch {
      return `/dev/null/${folder}`;
    }
  }

  function withRealPaths(options) {
    const preopens = isObject(options) ? options.preopens : undefined;
    if (!isObject(preopens)) return options;
    const realPaths = { __proto__: null };
    for (const entry of new SafeArrayIterator(ObjectEntries(preopens))) {
      realPaths[entry[0]] = realPathOf(String(entry[1]));
    }
    return { __proto__: null, ...options, preopens: realPaths };
  }

  function GuardedWASI(options) {
    return ReflectConstruct(WASI, [withRealPaths(options)], new.target);
  }
  GuardedWASI.prototype = WASI.prototype;
  // Makes the original class unreachable.
  ObjectDefineProperty(WASI.prototype, "constructor", { __proto__: null, value: GuardedWASI });
  ObjectDefineProperty(GuardedWASI, "name", { __proto__: null, value: "WASI" });
  wasi.WASI = wasi.default.WASI = GuardedWASI;
  return wasi;
});
