// Has node:wasi open folders where Deno's permissions look them up. Its native part checks a
// preopened folder by the name that it is given, and opens that name itself: `/tmp`, which stands
// for the project's own folder, would be that of the machine. Called with what Deno's module
// exports, when that is loaded.
(wasi) => {
  const { core, primordials } = __bootstrap;
  const { op_fs_realpath_sync } = core.ops;
  const { ObjectDefineProperty, ObjectEntries, ReflectConstruct, SafeArrayIterator, String } =
    primordials;
  const { WASI } = wasi;

  const isObject = (value) =>
    typeof value === "function" || (typeof value === "object" && value !== null);

  // What cannot be looked up must not be opened by the time that it can be.
  function placeOf(folder) {
    try {
      return op_fs_realpath_sync(folder);
    } catch {
      return `/dev/null/${folder}`;
    }
  }

  function withPlaces(options) {
    const preopens = isObject(options) ? options.preopens : undefined;
    if (!isObject(preopens)) return options;
    const places = { __proto__: null };
    for (const entry of new SafeArrayIterator(ObjectEntries(preopens))) {
      places[entry[0]] = placeOf(String(entry[1]));
    }
    return { __proto__: null, ...options, preopens: places };
  }

  function WASI_(options) {
    return ReflectConstruct(WASI, [withPlaces(options)], new.target);
  }
  WASI_.prototype = WASI.prototype;
  // The one that was is nobody's.
  ObjectDefineProperty(WASI.prototype, "constructor", { __proto__: null, value: WASI_ });
  ObjectDefineProperty(WASI_, "name", { __proto__: null, value: "WASI" });
  wasi.WASI = wasi.default.WASI = WASI_;
  return wasi;
}
