// EventEmitter of Node, and EventTarget and AbortController of the web.
(function events(internals) {
  "use strict";
  const { native, define } = internals;

  class EventEmitter {
    static defaultMaxListeners = 10;
    #listeners = new Map();
    #max;

    #list(name) { return this.#listeners.get(name) ?? []; }
    #add(name, listener, isFirst) {
      check(listener);
      if (this.#listeners.has("newListener")) this.emit("newListener", name, listener.listener ?? listener);
      // A new array, so that an emit that is under way is not changed.
      const list = isFirst ? [listener, ...this.#list(name)] : [...this.#list(name), listener];
      this.#listeners.set(name, list);
      const max = this.getMaxListeners();
      if (max > 0 && list.length === max + 1) {
        native.warn(`possible memory leak: an EventEmitter has ${list.length} listeners of ${String(name)}`);
      }
      return this;
    }
    #once(name, listener) {
      check(listener);
      const once = (...values) => {
        this.removeListener(name, once);
        return listener.apply(this, values);
      };
      once.listener = listener;
      return once;
    }
    on(name, listener) { return this.#add(name, listener, false); }
    addListener(name, listener) { return this.#add(name, listener, false); }
    prependListener(name, listener) { return this.#add(name, listener, true); }
    once(name, listener) { return this.#add(name, this.#once(name, listener), false); }
    prependOnceListener(name, listener) { return this.#add(name, this.#once(name, listener), true); }
    removeListener(name, listener) {
      const list = this.#list(name);
      const index = list.findLastIndex((one) => one === listener || one.listener === listener);
      if (index < 0) return this;
      if (list.length === 1) this.#listeners.delete(name);
      else this.#listeners.set(name, list.toSpliced(index, 1));
      if (this.#listeners.has("removeListener")) this.emit("removeListener", name, listener);
      return this;
    }
    off(name, listener) { return this.removeListener(name, listener); }
    removeAllListeners(name) {
      if (name === undefined) this.#listeners.clear();
      else this.#listeners.delete(name);
      return this;
    }
    emit(name, ...values) {
      const list = this.#list(name);
      if (list.length === 0) {
        if (name === "error") {
          if (internals.isError(values[0])) throw values[0];
          const error = new Error(`Unhandled error. (${internals.inspect(values[0])})`);
          throw Object.assign(error, { code: "ERR_UNHANDLED_ERROR", context: values[0] });
        }
        return false;
      }
      for (const listener of list) listener.apply(this, values);
      return true;
    }
    listenerCount(name) { return this.#list(name).length; }
    listeners(name) { return this.#list(name).map((listener) => listener.listener ?? listener); }
    rawListeners(name) { return [...this.#list(name)]; }
    eventNames() { return [...this.#listeners.keys()]; }
    setMaxListeners(max) {
      this.#max = max;
      return this;
    }
    getMaxListeners() { return this.#max ?? EventEmitter.defaultMaxListeners; }

    static once(emitter, name, options) {
      return new Promise((done, failed) => {
        const signal = options?.signal;
        const remove = () => {
          emitter.removeListener(name, onEvent);
          emitter.removeListener("error", onError);
          signal?.removeEventListener("abort", onAbort);
        };
        const onEvent = (...values) => { remove(); done(values); };
        const onError = (error) => { remove(); failed(error); };
        const onAbort = () => { remove(); failed(signal.reason); };
        if (signal?.aborted) return failed(signal.reason);
        signal?.addEventListener("abort", onAbort);
        emitter.once(name, onEvent);
        if (name !== "error") emitter.once("error", onError);
      });
    }
    static listenerCount(emitter, name) { return emitter.listenerCount(name); }
  }
  EventEmitter.EventEmitter = EventEmitter;

  const check = (listener) => {
    if (typeof listener !== "function") {
      const error = new TypeError('The "listener" argument must be a function');
      throw Object.assign(error, { code: "ERR_INVALID_ARG_TYPE" });
    }
  };

  internals.provide(["events", "node:events"], () => EventEmitter);
  internals.EventEmitter = EventEmitter;

  class Event {
    #type; #options; #isPrevented = false;
    #target = null;
    isStopped = false;
    timeStamp = native.now();
    constructor(type, options = {}) {
      this.#type = String(type);
      this.#options = options ?? {};
      Object.defineProperty(this, "isStopped", { enumerable: false });
    }
    static setTarget(event, target) { event.#target = target; }
    get type() { return this.#type; }
    get target() { return this.#target; }
    get currentTarget() { return this.#target; }
    get bubbles() { return Boolean(this.#options.bubbles); }
    get cancelable() { return Boolean(this.#options.cancelable); }
    get defaultPrevented() { return this.#isPrevented; }
    preventDefault() { this.#isPrevented = this.cancelable; }
    stopPropagation() {}
    stopImmediatePropagation() { this.isStopped = true; }
  }
  const { setTarget } = Event;
  delete Event.setTarget;

  class CustomEvent extends Event {
    #detail;
    constructor(type, options = {}) {
      super(type, options);
      this.#detail = options?.detail ?? null;
    }
    get detail() { return this.#detail; }
  }

  class EventTarget {
    #listeners = new Map();
    addEventListener(type, listener, options = {}) {
      if (listener === null || listener === undefined) return;
      const { once = false, signal } = typeof options === "boolean" ? {} : options ?? {};
      if (signal?.aborted) return;
      const list = this.#listeners.get(type) ?? [];
      if (list.some((entry) => entry.listener === listener)) return;
      this.#listeners.set(type, [...list, { listener, once }]);
      signal?.addEventListener("abort", () => this.removeEventListener(type, listener), { once: true });
    }
    removeEventListener(type, listener) {
      const list = this.#listeners.get(type) ?? [];
      this.#listeners.set(type, list.filter((entry) => entry.listener !== listener));
    }
    dispatchEvent(event) {
      setTarget(event, this);
      const { type } = event;
      for (const { listener, once } of this.#listeners.get(type) ?? []) {
        if (event.isStopped) break;
        if (once) this.removeEventListener(type, listener);
        // One listener does not keep the others from their event.
        try {
          if (typeof listener === "function") listener.call(this, event);
          else listener.handleEvent(event);
        } catch (error) {
          Promise.reject(error);
        }
      }
      return !event.defaultPrevented;
    }
  }

  if (typeof globalThis.DOMException !== "function") {
    const DOMException = class DOMException extends Error {
      #name;
      constructor(message = "", options = "Error") {
        super(message, typeof options === "object" ? options : undefined);
        this.#name = typeof options === "object" ? options.name ?? "Error" : String(options);
      }
      get name() { return this.#name; }
    };
    define(globalThis, { DOMException });
  }

  let isOwn = false;
  class AbortSignal extends EventTarget {
    #reason;
    #isAborted = false;
    onabort = null;
    constructor() {
      if (!isOwn) throw new TypeError("Illegal constructor");
      super();
      Object.defineProperty(this, "onabort", { enumerable: false });
    }
    static make() {
      isOwn = true;
      try {
        return new AbortSignal();
      } finally {
        isOwn = false;
      }
    }
    static fire(signal, reason) {
      if (signal.#isAborted) return;
      signal.#isAborted = true;
      signal.#reason = reason ?? new DOMException("This operation was aborted", "AbortError");
      const event = new Event("abort");
      if (typeof signal.onabort === "function") {
        try {
          signal.onabort(event);
        } catch (error) {
          Promise.reject(error);
        }
      }
      signal.dispatchEvent(event);
    }
    get aborted() { return this.#isAborted; }
    get reason() { return this.#reason; }
    throwIfAborted() { if (this.#isAborted) throw this.#reason; }
    static abort(reason) {
      const signal = make();
      abort(signal, reason);
      return signal;
    }
    static timeout(delay) {
      const signal = make();
      const reason = () => new DOMException("The operation was aborted due to timeout", "TimeoutError");
      setTimeout(() => abort(signal, reason()), delay).unref();
      return signal;
    }
    static any(signals) {
      const any = make();
      for (const signal of signals) {
        if (signal.aborted) {
          abort(any, signal.reason);
          break;
        }
        signal.addEventListener("abort", () => abort(any, signal.reason), { once: true });
      }
      return any;
    }
  }
  const { make, fire: abort } = AbortSignal;
  delete AbortSignal.make;
  delete AbortSignal.fire;

  class AbortController {
    #signal = make();
    get signal() { return this.#signal; }
    abort(reason) { abort(this.#signal, reason); }
  }

  define(globalThis, { Event, CustomEvent, EventTarget, AbortSignal, AbortController });
})
