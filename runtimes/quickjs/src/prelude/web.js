// The web's text encodings, base64, structured clones and performance.
(function web(internals) {
  "use strict";
  const { native, define } = internals;

  class TextEncoder {
    get encoding() { return "utf-8"; }
    encode(text = "") { return native.encodeUtf8(`${text}`.toWellFormed()); }
    encodeInto(text, target) {
      let read = 0;
      let written = 0;
      for (const character of `${text}`.toWellFormed()) {
        const bytes = native.encodeUtf8(character);
        if (written + bytes.length > target.length) break;
        target.set(bytes, written);
        read += character.length;
        written += bytes.length;
      }
      return { read, written };
    }
  }

  const bytesOf = (input) => {
    if (input === undefined) return new Uint8Array(0);
    if (input instanceof ArrayBuffer) return new Uint8Array(input);
    if (ArrayBuffer.isView(input)) return new Uint8Array(input.buffer, input.byteOffset, input.byteLength);
    throw new TypeError('The "input" argument must be an ArrayBuffer or a view of one');
  };

  class TextDecoder {
    #fatal; #ignoreBOM;
    #rest = new Uint8Array(0);
    #isFirst = true;
    constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
      if (!["utf-8", "utf8", "unicode-1-1-utf-8"].includes(`${label}`.trim().toLowerCase())) {
        throw new RangeError(`The "${label}" encoding is not supported`);
      }
      this.#fatal = fatal;
      this.#ignoreBOM = ignoreBOM;
    }
    get encoding() { return "utf-8"; }
    get fatal() { return this.#fatal; }
    get ignoreBOM() { return this.#ignoreBOM; }
    decode(input, { stream = false } = {}) {
      let bytes = bytesOf(input);
      if (this.#rest.length > 0) {
        const joined = new Uint8Array(this.#rest.length + bytes.length);
        joined.set(this.#rest);
        joined.set(bytes, this.#rest.length);
        bytes = joined;
      }
      const whole = stream ? bytes.length - unfinished(bytes) : bytes.length;
      this.#rest = bytes.slice(whole);
      let text = native.decodeUtf8(bytes.slice(0, whole), this.#fatal);
      if (text === null) {
        this.#rest = new Uint8Array(0);
        this.#isFirst = true;
        const error = new TypeError("The encoded data was not valid for encoding utf-8");
        throw Object.assign(error, { code: "ERR_ENCODING_INVALID_ENCODED_DATA" });
      }
      if (this.#isFirst && text !== "") {
        this.#isFirst = false;
        if (!this.#ignoreBOM && text.startsWith("\ufeff")) text = text.slice(1);
      }
      if (!stream) this.#isFirst = true;
      return text;
    }
  }

  /// How many bytes at the end are the beginning of a character.
  const unfinished = (bytes) => {
    for (let back = 1; back <= Math.min(3, bytes.length); back++) {
      const byte = bytes[bytes.length - back];
      if ((byte & 0xc0) === 0x80) continue;
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
      return length > back ? back : 0;
    }
    return 0;
  };

  const invalid = (message) => new DOMException(message, "InvalidCharacterError");
  const btoa = (text) => {
    const string = `${text}`;
    const bytes = new Uint8Array(string.length);
    for (let index = 0; index < string.length; index++) {
      const code = string.charCodeAt(index);
      if (code > 255) throw invalid("Invalid character");
      bytes[index] = code;
    }
    return native.toBase64(bytes);
  };
  const atob = (text) => {
    const bytes = native.fromBase64(`${text}`.replace(/[\t\n\f\r ]/g, ""));
    if (bytes === null) throw invalid("The string to be decoded is not correctly encoded.");
    let string = "";
    for (let start = 0; start < bytes.length; start += 4096) {
      string += String.fromCharCode(...bytes.subarray(start, start + 4096));
    }
    return string;
  };

  internals.uncloneable = [Promise, WeakMap, WeakSet, WeakRef];
  const uncloneable = (value) =>
    new DOMException(`${internals.inspect(value, { depth: 0 })} could not be cloned.`, "DataCloneError");
  const errors = { EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };
  const clone = (value, seen) => {
    if (typeof value === "function" || typeof value === "symbol") throw uncloneable(value);
    if (typeof value !== "object" || value === null) return value;
    const known = seen.get(value);
    if (known !== undefined) return known;
    const keep = (copy) => {
      seen.set(value, copy);
      return copy;
    };
    const fill = (copy) => {
      for (const key of Object.keys(value)) copy[key] = clone(value[key], seen);
      return copy;
    };
    if (Array.isArray(value)) return fill(keep(new Array(value.length)));
    if (value instanceof Date) return keep(new Date(value.getTime()));
    if (value instanceof RegExp) return keep(new RegExp(value.source, value.flags));
    if (value instanceof Boolean || value instanceof Number || value instanceof String) return keep(Object(value.valueOf()));
    if (value instanceof ArrayBuffer) return keep(value.slice(0));
    if (ArrayBuffer.isView(value)) {
      const buffer = clone(value.buffer, seen);
      return keep(value instanceof DataView ? new DataView(buffer, value.byteOffset, value.byteLength)
        : new value.constructor(buffer, value.byteOffset, value.length));
    }
    if (value instanceof Map) {
      const copy = keep(new Map());
      for (const [key, item] of [...value]) copy.set(clone(key, seen), clone(item, seen));
      return copy;
    }
    if (value instanceof Set) {
      const copy = keep(new Set());
      for (const item of [...value]) copy.add(clone(item, seen));
      return copy;
    }
    if (internals.isError(value)) {
      const Kind = errors[value.name] ?? Error;
      const copy = keep(new Kind(value.message));
      if (Object.hasOwn(value, "cause")) copy.cause = clone(value.cause, seen);
      Object.defineProperty(copy, "stack", { value: value.stack, writable: true, enumerable: false, configurable: true });
      return copy;
    }
    if (internals.uncloneable.some((constructor) => value instanceof constructor)) throw uncloneable(value);
    return fill(keep({}));
  };
  const structuredClone = (value) => clone(value, new Map());

  const performance = {
    now: () => native.now(),
    timeOrigin: native.timeOrigin,
    toJSON() { return { timeOrigin: native.timeOrigin }; },
  };
  define(globalThis, { TextEncoder, TextDecoder, btoa, atob, structuredClone, performance });
  internals.provide(["perf_hooks", "node:perf_hooks"], () => ({ performance }));
})
