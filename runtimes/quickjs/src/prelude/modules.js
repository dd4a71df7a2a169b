// CommonJS, and the modules that are built in.
(function modules(internals) {
  "use strict";
  const { native } = internals;
  const builtIn = new Map();
  const cache = Object.create(null);

  const provide = (names, make) => {
    let made;
    for (const name of names) builtIn.set(name, () => (made ??= make()));
  };

  provide(["timers", "node:timers"], () => ({ ...internals.timing }));
  provide(["timers/promises", "node:timers/promises"], () => {
    const wait = (delay, value, options) => new Promise((done, failed) => {
      const signal = options?.signal;
      const reason = () => failed(signal.reason);
      if (signal?.aborted) return reason();
      const timer = setTimeout(() => {
        signal?.removeEventListener("abort", abort);
        done(value);
      }, delay);
      const abort = () => {
        clearTimeout(timer);
        reason();
      };
      signal?.addEventListener("abort", abort, { once: true });
      if (options?.ref === false) timer.unref();
    });
    return {
      setTimeout: wait,
      setImmediate: (value, options) => wait(0, value, options),
      scheduler: { wait: (delay, options) => wait(delay, undefined, options), yield: () => wait(0) },
    };
  });
  provide(["process", "node:process"], () => internals.process);
  provide(["lambda"], () => {
    const add = (stage) => (hook) => {
      if (typeof hook !== "function") throw new TypeError(`${stage} takes a function`);
      internals.hooks[stage].push(hook);
    };
    const [beforeSnapshot, afterRestore, onShutdown] =
      ["beforeSnapshot", "afterRestore", "onShutdown"].map(add);
    return { beforeSnapshot, afterRestore, onShutdown };
  });

  const requireFrom = (path) => {
    const require = (name) => {
      if (typeof name !== "string") throw new TypeError('The "id" argument must be a string');
      return load(native.resolve(path, name, true));
    };
    require.resolve = (name) => native.resolve(path, name, true);
    require.cache = cache;
    return require;
  };

  const load = (path) => {
    const make = builtIn.get(path);
    if (make !== undefined) return make();
    const known = cache[path];
    if (known !== undefined) return known.exports;
    const format = native.format(path);
    if (format === "module") {
      const error = new Error(`require() cannot load the ES module ${path}: use import()`);
      throw Object.assign(error, { code: "ERR_REQUIRE_ESM" });
    }
    const directory = path.replace(/\/[^/]*$/, "") || "/";
    const module = {
      id: path, filename: path, path: directory, exports: {}, loaded: false, children: [],
    };
    cache[path] = module;
    try {
      if (format === "json") {
        module.exports = native.readJson(path);
      } else {
        const require = requireFrom(path);
        module.require = require;
        const wrapper = native.compile(path);
        wrapper.call(module.exports, module.exports, require, module, path, directory);
      }
    } catch (error) {
      delete cache[path];
      throw error;
    }
    module.loaded = true;
    return module.exports;
  };

  // What the source of an ES module around a CommonJS module calls.
  Object.defineProperty(globalThis, Symbol.for("lambda-quickjs.load"), {
    value: load, writable: false, enumerable: false, configurable: false,
  });

  Object.assign(internals, {
    provide,
    load,
    /// The names under which an ES module can import from a CommonJS module.
    exportNames(path) {
      const exports = load(path);
      if ((typeof exports !== "object" && typeof exports !== "function") || exports === null) return [];
      // Methods of a class are not enumerable.
      const isOwn = (name) => !["length", "name", "prototype"].includes(name);
      const names = typeof exports === "function" ? Object.getOwnPropertyNames(exports).filter(isOwn) : Object.keys(exports);
      return names.filter((name) => name !== "default" && /^[\p{ID_Start}$_][\p{ID_Continue}$]*$/u.test(name));
    },
    isBuiltIn: (name) => builtIn.has(name),
    createRequire: requireFrom,
  });
  provide(["module", "node:module"], () => ({
    createRequire: (from) => requireFrom(String(from).replace(/^file:\/\//, "")),
    isBuiltin: (name) => builtIn.has(name),
  }));
})
