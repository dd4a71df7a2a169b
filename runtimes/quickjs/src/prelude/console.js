// The console, and the text of values as `util.inspect` of Node writes it.
(function console(internals) {
  "use strict";
  const { native, define, isError, typeOf, framesOf } = internals;
  const { hasOwn, getPrototypeOf } = Object;
  /// The width beyond which an object gets several lines, and its longest line.
  const BREAK = 80;
  const MAX_ITEMS = 100;
  const identifier = /^[A-Za-z_$][A-Za-z0-9_$]*$/;
  const custom = Symbol.for("nodejs.util.inspect.custom");

  const quote = (text) => {
    const mark = !text.includes("'") ? "'" : !text.includes('"') ? '"' : !text.includes("`") ? "`" : "'";
    const escapes = { "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f", "\v": "\\v", "\\": "\\\\" };
    let quoted = mark;
    for (const character of text.toWellFormed()) {
      if (character === mark) quoted += `\\${character}`;
      else if (escapes[character]) quoted += escapes[character];
      else if (character < " " || character === "\x7f") {
        quoted += `\\x${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
      } else quoted += character;
    }
    return quoted + mark;
  };

  const keyText = (key) => {
    if (typeof key === "symbol") return String(key);
    return identifier.test(key) ? key : quote(key);
  };

  const primitive = (value, state) => {
    switch (typeof value) {
      case "string": {
        const limit = 10000;
        const more = value.length - limit;
        return more > 0 ? `${quote(value.slice(0, limit))}... ${more} more character${more > 1 ? "s" : ""}` : quote(value);
      }
      case "number": return Object.is(value, -0) ? "-0" : String(value);
      case "bigint": return `${value}n`;
      case "symbol": return String(value);
      default: return String(value);
    }
  };

  /// The name of the class of an object; `null` if it has no prototype.
  const className = (value) => {
    for (let at = value; at !== null && at !== undefined; at = getPrototypeOf(at)) {
      // Not the getter of promises, which has a meaning for the owner of reactions.
      if (at === Promise.prototype) return "Promise";
      const own = Object.getOwnPropertyDescriptor(at, "constructor");
      if (own !== undefined && typeof own.value === "function" && own.value.name !== "") return own.value.name;
    }
    return null;
  };

  const functionText = (value, constructor) => {
    const source = Function.prototype.toString.call(value);
    if (source.startsWith("class") && /^class[\s{]/.test(source)) {
      const parent = getPrototypeOf(value)?.name;
      const name = hasOwn(value, "name") && value.name !== "" ? value.name : "(anonymous)";
      return `[class ${name}${parent ? ` extends ${parent}` : ""}]`;
    }
    const kind = constructor ?? "Function";
    return value.name === "" || value.name === undefined ? `[${kind} (anonymous)]` : `[${kind}: ${value.name}]`;
  };

  const errorText = (error, state) => {
    const type = typeOf(error);
    const message = String(error.message ?? "");
    const frames = framesOf(error).map((line) => `\n    ${line}`).join("");
    return frames === "" ? `[${type}${message === "" ? "" : `: ${message}`}]`
      : `${type}${message === "" ? "" : `: ${message}`}${frames}`;
  };

  const isArrayLike = (value) => Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView));

  const format = (value, state, level) => {
    if ((typeof value !== "object" && typeof value !== "function") || value === null) {
      return primitive(value, state);
    }
    const own = value[custom];
    if (typeof own === "function" && own !== inspect) {
      const text = own.call(value, state.depth - level, { ...state.options }, inspect);
      if (typeof text === "string") return text.replaceAll("\n", `\n${" ".repeat(state.indentation)}`);
      if (text !== value) return format(text, state, level);
    }
    if (state.seen.includes(value)) {
      if (!state.circular.has(value)) state.circular.set(value, state.circular.size + 1);
      return `[Circular *${state.circular.get(value)}]`;
    }
    return raw(value, state, level);
  };

  const keysOf = (value, isList) => {
    const keys = isList ? Object.keys(value).filter((key) => !/^(0|[1-9][0-9]*)$/.test(key)) : Object.keys(value);
    const symbols = Object.getOwnPropertySymbols(value);
    return [...keys, ...symbols.filter((symbol) => Object.prototype.propertyIsEnumerable.call(value, symbol))];
  };

  const property = (value, key, state, level, isList) => {
    const { get, set, value: held } = Object.getOwnPropertyDescriptor(value, key);
    let text;
    if (get !== undefined) text = set === undefined ? "[Getter]" : "[Getter/Setter]";
    else if (set !== undefined) text = "[Setter]";
    else {
      state.indentation += 2;
      text = format(held, state, level + 1);
      state.indentation -= 2;
    }
    return isList === "item" ? text : `${keyText(key)}: ${text}`;
  };

  const raw = (value, state, level) => {
    const constructor = className(value);
    const tag = value[Symbol.toStringTag];
    const suffix = typeof tag === "string" && tag !== "" && tag !== constructor ? ` [${tag}]` : "";
    const name = (standard, size) => {
      const prefix = constructor === null ? `[${standard}${size ?? ""}: null prototype]` : `${constructor}${size ?? ""}`;
      return `${prefix}${suffix} `;
    };
    const isList = isArrayLike(value);
    let keys = keysOf(value, isList);
    let braces = ["{", "}"];
    let base = "";
    let items = null;
    if (Array.isArray(value)) {
      const prefix = constructor === "Array" && suffix === "" ? "" : name("Array", `(${value.length})`);
      braces = [`${prefix}[`, "]"];
      if (value.length === 0 && keys.length === 0) return `${braces[0]}]`;
      items = () => {
        const texts = [];
        const shown = Math.min(MAX_ITEMS, value.length);
        let index = 0;
        for (; index < value.length && texts.length < shown; index++) {
          if (hasOwn(value, index)) texts.push(property(value, index, state, level, "item"));
          else {
            let holes = 0;
            while (index + holes < value.length && !hasOwn(value, index + holes)) holes++;
            texts.push(`<${holes} empty item${holes > 1 ? "s" : ""}>`);
            index += holes - 1;
          }
        }
        more(texts, value.length - index);
        return texts;
      };
    } else if (isList) {
      braces = [`${name(constructor, `(${value.length})`)}[`, "]"];
      if (value.length === 0 && keys.length === 0) return `${braces[0]}]`;
      items = () => {
        const texts = Array.from(value.slice(0, MAX_ITEMS), (item) => primitive(item, state));
        more(texts, value.length - texts.length);
        return texts;
      };
    } else if (value instanceof Map || value instanceof Set) {
      const isMap = value instanceof Map;
      braces[0] = `${name(isMap ? "Map" : "Set", `(${value.size})`)}{`;
      if (value.size === 0 && keys.length === 0) return `${braces[0]}}`;
      items = () => {
        const texts = [];
        state.indentation += 2;
        for (const item of isMap ? Map.prototype.entries.call(value) : Set.prototype.values.call(value)) {
          if (texts.length >= MAX_ITEMS) break;
          texts.push(isMap ? `${format(item[0], state, level + 1)} => ${format(item[1], state, level + 1)}`
            : format(item, state, level + 1));
        }
        state.indentation -= 2;
        more(texts, value.size - texts.length);
        return texts;
      };
    } else if (typeof value === "function") {
      base = functionText(value, constructor);
      if (keys.length === 0) return base;
    } else if (value instanceof RegExp) {
      base = RegExp.prototype.toString.call(value);
      if (keys.length === 0) return base;
    } else if (value instanceof Date) {
      base = Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString();
      if (keys.length === 0) return base;
    } else if (isError(value)) {
      keys = keys.filter((key) => !["name", "message", "stack"].includes(key));
      base = errorText(value, state);
      if (hasOwn(value, "cause") && !keys.includes("cause")) keys.push("cause");
      if (Array.isArray(value.errors) && !keys.includes("errors")) keys.push("errors");
      if (state.indentation > 0) base = base.replaceAll("\n", `\n${" ".repeat(state.indentation)}`);
      if (keys.length === 0) return base;
    } else if (value instanceof Promise) {
      braces[0] = `${name("Promise")}{`;
      items = () => {
        const [settled, result] = native.promiseState(value);
        if (settled === "pending") return ["<pending>"];
        state.indentation += 2;
        const text = format(result, state, level + 1);
        state.indentation -= 2;
        return [settled === "rejected" ? `<rejected> ${text}` : text];
      };
    } else if (value instanceof WeakMap || value instanceof WeakSet || value instanceof WeakRef) {
      return `${name(constructor)}{ <items unknown> }`;
    } else if (value instanceof ArrayBuffer) {
      braces[0] = `${name("ArrayBuffer")}{`;
      items = () => {
        const bytes = Array.from(new Uint8Array(value).slice(0, 50), (byte) => byte.toString(16).padStart(2, "0"));
        const rest = value.byteLength - bytes.length;
        const text = bytes.join(" ") + (rest > 0 ? ` ... ${rest} more byte${rest > 1 ? "s" : ""}` : "");
        return [`[Uint8Contents]: <${text}>`, `[byteLength]: ${value.byteLength}`];
      };
    } else if (value instanceof Number || value instanceof String || value instanceof Boolean) {
      const kind = value instanceof Number ? "Number" : value instanceof String ? "String" : "Boolean";
      base = `[${kind}: ${primitive(value.valueOf(), state)}]`;
      keys = value instanceof String ? keys.filter((key) => !(typeof key === "string" && /^[0-9]+$/.test(key))) : keys;
      if (keys.length === 0) return base;
    } else {
      if (keys.length === 0) {
        if (constructor === "Object" && suffix === "") return "{}";
        return `${name("Object")}{}`;
      }
      if (constructor !== "Object" || suffix !== "") braces[0] = `${name("Object")}{`;
    }
    if (level > state.depth) {
      return `[${Array.isArray(value) ? "Array" : constructor === null ? "Object: null prototype" : constructor}]`;
    }
    state.seen.push(value);
    state.current = level;
    let texts;
    try {
      texts = items === null ? [] : items();
      for (const key of keys) texts.push(describeProperty(value, key, state, level));
    } finally {
      state.seen.pop();
    }
    const reference = state.circular.get(value);
    if (reference !== undefined) {
      const mark = `<ref *${reference}> `;
      if (base !== "") base = `${mark}${base}`;
      else braces[0] = `${mark}${braces[0]}`;
    }
    const isGrouped = isList && texts.length > 6;
    const lines = isGrouped ? group(texts, value, state) : texts;
    return combine(lines, base, braces, state, level, texts.length === lines.length);
  };

  const describeProperty = (value, key, state, level) => {
    if (isError(value) && (key === "cause" || key === "errors") && !Object.prototype.propertyIsEnumerable.call(value, key)) {
      state.indentation += 2;
      const text = format(value[key], state, level + 1);
      state.indentation -= 2;
      return `[${key}]: ${text}`;
    }
    return property(value, key, state, level);
  };

  const more = (texts, count) => {
    if (count > 0) texts.push(`... ${count} more item${count > 1 ? "s" : ""}`);
  };

  /// Puts the items of a long array into columns.
  const group = (texts, value, state) => {
    const last = texts.at(-1).startsWith("... ") ? texts.length - 1 : texts.length;
    const widths = texts.slice(0, last).map((text) => text.length + 2);
    const longest = Math.max(...widths);
    const total = widths.reduce((sum, width) => sum + width, 0);
    // Texts of about the same length only.
    if (longest * 3 + state.indentation >= BREAK || !(total / longest > 5 || longest - 2 <= 6)) return texts;
    if (texts.some((text) => text.includes("\n"))) return texts;
    const spread = Math.sqrt(longest - total / texts.length);
    const bias = Math.max(longest - 3 - spread, 1);
    const columns = Math.min(
      Math.round(Math.sqrt(2.5 * bias * last) / bias),
      Math.floor((BREAK - state.indentation) / longest),
      12,
      15,
    );
    if (columns <= 1) return texts;
    const columnWidths = [];
    for (let column = 0; column < columns; column++) {
      let width = 0;
      for (let index = column; index < last; index += columns) width = Math.max(width, widths[index]);
      columnWidths.push(width);
    }
    const isNumeric = [...Array(last).keys()].every((index) => ["number", "bigint"].includes(typeof value[index]));
    const lines = [];
    for (let start = 0; start < last; start += columns) {
      const end = Math.min(start + columns, last);
      let line = "";
      for (let index = start; index < end; index++) {
        const isLast = index === end - 1;
        const text = isLast ? texts[index] : `${texts[index]}, `;
        const width = columnWidths[index - start] - (isLast ? 2 : 0);
        if (isNumeric) line += text.padStart(width);
        else line += isLast ? text : text.padEnd(width);
      }
      lines.push(line);
    }
    return last < texts.length ? [...lines, texts[last]] : lines;
  };

  const combine = (texts, base, braces, state, level, isWhole) => {
    const start = base === "" ? "" : `${base} `;
    if (isWhole && state.current - level < 3) {
      const length = texts.length + state.indentation + braces[0].length + base.length + 10;
      const total = texts.reduce((sum, text) => sum + text.length, texts.length + length);
      if (total <= BREAK && !texts.some((text) => text.includes("\n")) && !base.includes("\n")) {
        return `${start}${braces[0]} ${texts.join(", ")} ${braces[1]}`;
      }
    }
    const indentation = `\n${" ".repeat(state.indentation)}`;
    return `${start}${braces[0]}${indentation}  ${texts.join(`,${indentation}  `)}${indentation}${braces[1]}`;
  };

  /// The text of a value.
  const inspect = (value, options = {}) => {
    const depth = options.depth === null ? Infinity : options.depth ?? 2;
    const state = { seen: [], circular: new Map(), indentation: 0, current: 0, depth, options };
    return format(value, state, 0);
  };
  inspect.custom = custom;

  const shallow = (value) => {
    if (typeof value === "string") return value;
    if (typeof value === "object" && value !== null && !isError(value)) {
      // With a text of its own.
      const isOwn = typeof value.toString === "function" && value.toString !== Object.prototype.toString
        && !Array.isArray(value);
      return isOwn ? String(value) : inspect(value, { depth: 0 });
    }
    if (typeof value === "bigint") return `${value}n`;
    return Object.is(value, -0) ? "-0" : isError(value) ? String(value) : typeof value === "symbol" ? String(value) : `${value}`;
  };

  const directives = {
    s: shallow,
    d: (value) => typeof value === "bigint" ? `${value}n` : typeof value === "symbol" || typeof value === "object" ? "NaN" : `${Number(value)}`,
    i: (value) => typeof value === "bigint" ? `${value}n` : typeof value === "symbol" || typeof value === "object" ? "NaN" : `${parseInt(value)}`,
    f: (value) => typeof value === "symbol" ? "NaN" : `${parseFloat(value)}`,
    j: (value) => {
      try { return JSON.stringify(value); } catch { return "[Circular]"; }
    },
    o: (value) => inspect(value, { depth: 4 }),
    O: (value) => inspect(value),
    c: () => "",
  };

  /// The arguments of a call as one text, with the directives of `util.format`.
  const formatAll = (...values) => {
    let text = "";
    let rest = values;
    if (typeof values[0] === "string" && values.length > 1) {
      let next = 1;
      text = values[0].replace(/%([sdifjoOc%])/g, (whole, letter) => {
        if (letter === "%") return "%";
        return next < values.length ? `${directives[letter](values[next++])}` : whole;
      });
      rest = values.slice(next);
      if (rest.length > 0) text += " ";
    }
    return text + rest.map((value) => (typeof value === "string" ? value : inspect(value))).join(" ");
  };

  let indentation = "";
  const counts = new Map();
  const times = new Map();
  const print = (level, values) => {
    let text = formatAll(...values).toWellFormed();
    if (indentation !== "") text = indentation + text.replaceAll("\n", `\n${indentation}`);
    native.print(level, text);
  };
  const printer = (level) => (...values) => print(level, values);
  const lapse = (label) => {
    const begun = times.get(label);
    if (begun === undefined) {
      native.warn(`No such label '${label}' for console.time()`);
      return undefined;
    }
    return `${label}: ${(native.now() - begun).toFixed(3)}ms`;
  };
  const console = {
    log: printer("INFO"),
    info: printer("INFO"),
    debug: printer("DEBUG"),
    warn: printer("WARN"),
    error: printer("ERROR"),
    trace(...values) {
      const frames = framesOf(new Error()).map((line) => `\n    ${line}`).join("");
      const text = formatAll(...values);
      print("TRACE", [`Trace${text === "" ? "" : `: ${text}`}${frames}`]);
    },
    dir(value, options) { print("INFO", [inspect(value, options)]); },
    dirxml: printer("INFO"),
    assert(holds, ...values) {
      if (holds) return;
      if (typeof values[0] === "string") values[0] = `Assertion failed: ${values[0]}`;
      else values.unshift("Assertion failed");
      print("WARN", values);
    },
    count(label = "default") {
      const count = (counts.get(`${label}`) ?? 0) + 1;
      counts.set(`${label}`, count);
      print("INFO", [`${label}: ${count}`]);
    },
    countReset(label = "default") { counts.delete(`${label}`); },
    group(...values) {
      if (values.length > 0) print("INFO", values);
      indentation += "  ";
    },
    groupCollapsed(...values) { console.group(...values); },
    groupEnd() { indentation = indentation.slice(2); },
    time(label = "default") { times.set(`${label}`, native.now()); },
    timeLog(label = "default", ...values) {
      const text = lapse(`${label}`);
      if (text !== undefined) print("INFO", [text, ...values]);
    },
    timeEnd(label = "default") {
      const text = lapse(`${label}`);
      times.delete(`${label}`);
      if (text !== undefined) print("INFO", [text]);
    },
    table(value) { print("INFO", [inspect(value)]); },
  };
  define(globalThis, { console });
  Object.assign(internals, { inspect, format: formatAll });
  internals.provide(["console", "node:console"], () => console);
  internals.provide(["util", "node:util"], () => ({
    inspect,
    format: formatAll,
    promisify: (work) => (...values) => new Promise((done, failed) => {
      work(...values, (error, value) => (error ? failed(error) : done(value)));
    }),
    inherits(constructor, parent) {
      Object.setPrototypeOf(constructor.prototype, parent.prototype);
      constructor.super_ = parent;
    },
    get TextEncoder() { return globalThis.TextEncoder; },
    get TextDecoder() { return globalThis.TextDecoder; },
  }));
})
