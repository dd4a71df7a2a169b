// The part of the runtime that is JavaScript: calls of the handler, timers, errors. It is evaluated
// first, and returns what the other parts and the runtime use.
(function core(native, settings) {
  "use strict";
  const { parse, stringify } = JSON;
  const { defineProperty } = Object;
  const intrinsicResolve = Promise.resolve;
  const inFile = "(lambda-quickjs:";
  const nothing = () => {};

  // See src/owners.rs.
  const hidden = (get, name) => {
    const set = function (value) {
      defineProperty(this, name, { value, writable: true, enumerable: true, configurable: true });
    };
    defineProperty(Promise.prototype, name, { get, set, enumerable: false, configurable: true });
  };
  hidden(native.promiseConstructor, "constructor");
  hidden(native.promiseThen, "then");
  const resolve = function resolve(value) {
    const was = native.suspendOwners(true);
    try {
      return intrinsicResolve.call(this, value);
    } finally {
      native.suspendOwners(was);
    }
  };
  defineProperty(Promise, "resolve", {
    value: resolve, writable: true, enumerable: false, configurable: true,
  });

  // ---- Errors

  const builtIn = new Set(["Error", "EvalError", "RangeError", "ReferenceError", "SyntaxError",
    "TypeError", "URIError", "InternalError", "AggregateError"]);

  const isError = (value) => value instanceof Error || Error.isError?.(value) === true;

  /// The name that an error was given, or that of its class.
  const typeOf = (error) => {
    const name = typeof error.name === "string" && error.name !== "" ? error.name : "Error";
    if (!builtIn.has(name)) return name;
    const own = error.constructor?.name;
    return typeof own === "string" && own !== "" && own !== "Object" ? own : name;
  };

  const framesOf = (error) => {
    if (typeof error.stack !== "string") return [];
    const lines = error.stack.split("\n").map((line) => line.trim());
    // The constructor that a class has without writing it.
    const own = error.constructor?.name;
    if (own && lines[0]?.startsWith(`at ${own} (`)) lines.shift();
    return lines.filter((line) => line !== "" && !line.includes(inFile) && !/^at native$|\(native\)$/.test(line));
  };

  const textOf = (value) => {
    if (typeof value === "string") return value;
    return internals.inspect ? internals.inspect(value) : String(value);
  };

  /// The type, the message and the lines of the trace of what was thrown.
  const describe = (thrown) => {
    try {
      if (!isError(thrown)) {
        return [typeof thrown, textOf(thrown).toWellFormed(), ""];
      }
      const lines = [];
      const seen = new Set([thrown]);
      for (let cause = thrown.cause; cause !== undefined && !seen.has(cause); ) {
        seen.add(cause);
        const is = isError(cause);
        const text = is ? `${typeOf(cause)}: ${cause.message}` : textOf(cause);
        lines.push(`caused by: ${text.replace(/[\r\n]+/g, " ")}`);
        cause = is ? cause.cause : undefined;
      }
      lines.push(...framesOf(thrown));
      return [typeOf(thrown).toWellFormed(), String(thrown.message).toWellFormed(),
        lines.join("\n").toWellFormed()];
    } catch {
      return ["Error", "an error that cannot be described", ""];
    }
  };

  // ---- Timers

  const timers = new Map();
  let lastId = 0;

  /// The first frame of the function's own code.
  const place = () => {
    const [frame] = framesOf(new Error());
    return frame === undefined ? "" : ` ${frame}`;
  };

  class Timeout {
    #id;
    constructor(id) { this.#id = id; }
    ref() {
      const timer = timers.get(this.#id);
      if (timer !== undefined && !timer.isReferenced) {
        timer.isReferenced = true;
        native.referenceTimer(this.#id, timer.description);
      }
      return this;
    }
    unref() {
      const timer = timers.get(this.#id);
      if (timer !== undefined) timer.isReferenced = false;
      native.unreferenceTimer(this.#id);
      return this;
    }
    hasRef() { return timers.get(this.#id)?.isReferenced ?? false; }
    refresh() {
      const timer = timers.get(this.#id);
      if (timer) {
        native.clearTimer(this.#id);
        native.setTimer(this.#id, timer.delay, timer.isInterval, timer.description);
        if (!timer.isReferenced) native.unreferenceTimer(this.#id);
      }
      return this;
    }
    close() {
      clear(this);
      return this;
    }
    [Symbol.toPrimitive]() { return this.#id; }
    [Symbol.dispose ?? Symbol()]() { clear(this); }
  }

  const delayOf = (delay) => {
    const number = Number(delay);
    // As in Node; the longest delay is that of a 32-bit integer.
    return number >= 1 && number <= 2147483647 ? Math.trunc(number) : 1;
  };

  const set = (name, callback, delay, args) => {
    if (typeof callback !== "function") {
      const error = new TypeError(`The "callback" argument of ${name} must be a function`);
      error.code = "ERR_INVALID_ARG_TYPE";
      throw error;
    }
    lastId = lastId >= 0xffffffff ? 1 : lastId + 1;
    const isInterval = name === "setInterval";
    const description = `${name}${place()}`;
    const timer = { callback, args, delay: delayOf(delay), isInterval, description, isReferenced: true };
    timer.object = new Timeout(lastId);
    timers.set(lastId, timer);
    native.setTimer(lastId, timer.delay, isInterval, description);
    return timer.object;
  };

  const clear = (timer) => {
    const id = timer === null || timer === undefined ? NaN : Number(timer);
    if (timers.delete(id)) native.clearTimer(id);
  };

  const fire = (id) => {
    const timer = timers.get(id);
    if (timer === undefined) return;
    if (!timer.isInterval) timers.delete(id);
    timer.callback.apply(timer.object, timer.args);
  };

  const define = (object, values) => {
    for (const [name, value] of Object.entries(values)) {
      defineProperty(object, name, { value, writable: true, enumerable: false, configurable: true });
    }
  };

  const timing = {
    setTimeout(callback, delay, ...args) { return set("setTimeout", callback, delay, args); },
    setInterval(callback, delay, ...args) { return set("setInterval", callback, delay, args); },
    setImmediate(callback, ...args) { return set("setImmediate", callback, 0, args); },
    clearTimeout(timer) { clear(timer); },
    clearInterval(timer) { clear(timer); },
    clearImmediate(timer) { clear(timer); },
  };
  define(globalThis, timing);
  const queueMicrotask = (callback) => {
    if (typeof callback !== "function") {
      throw new TypeError('The "callback" argument must be a function');
    }
    // A job of the current invocation; what it throws is an unhandled rejection.
    Promise.resolve().then(() => { callback(); });
  };
  define(globalThis, { queueMicrotask });

  // ---- The process

  const environment = native.environment;
  const version = "v24.0.0-quickjs";
  const process = {
    env: environment,
    argv: ["lambda-quickjs"],
    platform: "linux",
    nextTick(callback, ...args) { queueMicrotask(() => callback(...args)); },
    exit(code) { native.exit(Number(code ?? 0) | 0); },
    uptime() { return native.now() / 1000; },
    hrtime: Object.assign(
      (since) => {
        const nanos = process.hrtime.bigint() -
          (since ? BigInt(since[0]) * 1000000000n + BigInt(since[1]) : 0n);
        return [Number(nanos / 1000000000n), Number(nanos % 1000000000n)];
      },
      { bigint: () => BigInt(Math.round(native.now() * 1e6)) },
    ),
    cwd() { return settings.taskRoot; },
    version,
    versions: { quickjs: "ng" },
  };
  define(globalThis, { process, global: globalThis });

  // ---- The handler

  const hasStream = Symbol("hasStream");

  class Context {
    #deadline;
    #stream;
    #document(name, text) {
      if (text === undefined) return undefined;
      try {
        return parse(text);
      } catch (cause) {
        throw Object.assign(new Error(`the ${name} is not JSON: ${cause.message}`, { cause }),
          { name: "Runtime.UnmarshalError" });
      }
    }
    constructor(fields) {
      const { deadline, clientContext, identity, ...others } = fields;
      this.#deadline = deadline;
      this.callbackWaitsForEmptyEventLoop = false;
      Object.assign(this, settings.context, others);
      if (settings.mode === "raw") {
        this.clientContext = clientContext;
        this.identity = identity;
      } else {
        this.clientContext = this.#document("client context", clientContext);
        this.identity = this.#document("identity", identity);
      }
      if (deadline !== undefined) this.deadline = deadline;
    }
    getRemainingTimeInMillis() { return native.remaining(this.#deadline); }
    /// Fires at the deadline less the cancellation buffer.
    get signal() {
      internals.signals ??= new WeakMap();
      let controller = internals.signals.get(this);
      if (controller === undefined) {
        controller = new AbortController();
        internals.signals.set(this, controller);
        if (internals.cancelled.has(this)) cancel(controller);
      }
      return controller.signal;
    }
    /// A stream for the response of a handler that is not only for streams.
    stream() {
      this.#stream ??= internals.newStream(this);
      return this.#stream;
    }
    get [hasStream]() { return this.#stream !== undefined; }
    /// Keeps the environment from freezing until the promise has settled.
    waitUntil(promise) {
      lastId = lastId >= 0xffffffff ? 1 : lastId + 1;
      const id = lastId;
      native.beginAwaited(id, `waitUntil${place()}`);
      resolve.call(Promise, promise).then(
        () => native.endAwaited(id),
        (error) => {
          native.endAwaited(id);
          // Unhandled, in the log of the invocation that it belongs to.
          throw error;
        },
      );
    }
  }

  const cancel = (controller) => {
    controller.abort(new DOMException("The time of the invocation is over", "TimeoutError"));
  };

  const marshal = (message) => Object.assign(new Error(message), { name: "Runtime.MarshalError" });

  const encode = (result) => {
    if (settings.mode === "raw") return raw(result);
    let text;
    try {
      text = stringify(result === undefined ? null : result);
    } catch (cause) {
      throw Object.assign(marshal(`the result cannot be written as JSON: ${cause.message}`), { cause });
    }
    if (text === undefined) {
      throw marshal(`the result cannot be written as JSON: it is a ${typeof result}`);
    }
    return text;
  };

  const isBytes = (value) => typeof value === "string" || value instanceof Uint8Array
    || value instanceof ArrayBuffer;

  const raw = (result) => {
    if (isBytes(result)) return { body: result };
    if (result === undefined || result === null) return { body: "" };
    if (typeof result === "object" && isBytes(result.body)) {
      const { body, contentType } = result;
      if (contentType === undefined || typeof contentType === "string") return { body, contentType };
      throw marshal(`the content type of a response is a ${typeof contentType}, not a string`);
    }
    throw marshal("the result of a raw handler is a string, bytes, or an object with such a body");
  };

  let handler;

  const call = async (event, fields) => {
    const context = new Context(fields);
    internals.context = context;
    if (handler.streaming !== undefined) {
      await handler.call(event, internals.newStream(context, handler.streaming.highWaterMark), context);
      return undefined;
    }
    const result = await handler.call(event, context);
    return context[hasStream] ? undefined : encode(result);
  };

  const internals = {
    native,
    settings,
    describe,
    place,
    define,
    fire,
    isError,
    typeOf,
    framesOf,
    cancelled: new WeakSet(),
    timing,
    process,
    hooks: { beforeSnapshot: [], afterRestore: [], onShutdown: [] },
    /// Takes the exports that have the handler, and the path of names to it.
    setHandler(exports, path) {
      let receiver;
      let found = exports;
      for (const name of path) {
        receiver = found;
        found = found?.[name];
      }
      // The exports of a CommonJS module may also be those of an ES module's default.
      if (found === undefined && exports?.default !== undefined) {
        receiver = undefined;
        found = exports.default;
        for (const name of path) {
          receiver = found;
          found = found?.[name];
        }
      }
      if (typeof found !== "function") return found === undefined ? "undefined" : typeof found;
      const streaming = found[internals.streaming];
      if (streaming === undefined && found.length >= 3) return "callback";
      const bound = found;
      handler = { streaming, call: (...args) => bound.apply(receiver, args) };
      return "";
    },
    streaming: Symbol("streaming"),
    /// Calls the handler. The promise is never unhandled.
    call(event, fields) {
      const promise = call(event, fields);
      internals.ignore(promise);
      return promise;
    },
    /// Leaves a rejection of this promise to the runtime.
    ignore(promise) { promise.then(nothing, nothing); },
    /// Whether the handler has something that fires when its time is over.
    awaitsSignal: () => internals.signals?.has(internals.context) ?? false,
    /// The time of the invocation is over soon.
    cancel() {
      const { context } = internals;
      if (context === undefined) return;
      internals.cancelled.add(context);
      const controller = internals.signals?.get(context);
      if (controller !== undefined) cancel(controller);
    },
    /// The invocation is over.
    forget() {
      internals.signals?.delete(internals.context);
      internals.context = undefined;
      internals.stream = undefined;
    },
    runHooks(stage) {
      const promise = internals.runAll(stage);
      internals.ignore(promise);
      return promise;
    },
    async runAll(stage) {
      let failed = false;
      let first;
      for (const hook of internals.hooks[stage]) {
        try {
          await hook();
        } catch (error) {
          if (!failed) first = error;
          failed = true;
        }
      }
      if (failed) throw first;
    },
    hasHooks: (stage) => internals.hooks[stage].length > 0,
    traceId(id) {
      if (id === undefined) delete environment._X_AMZN_TRACE_ID;
      else environment._X_AMZN_TRACE_ID = id;
    },
  };
  return internals;
})
