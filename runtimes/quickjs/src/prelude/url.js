// URL and URLSearchParams of the web. The parser is native: src/urls.rs.
(function url(internals) {
  "use strict";
  const { native, define, uncloneable } = internals;
  const { isArray } = Array;
  const custom = Symbol.for("nodejs.util.inspect.custom");
  /// The order in which the parser returns them.
  const names = ["href", "origin", "protocol", "username", "password", "host", "hostname", "port",
    "pathname", "search", "hash"];

  const textOf = (value) => `${value}`.toWellFormed();
  const failure = (message, code, more) => Object.assign(new TypeError(message), { code, ...more });
  const need = (count, ...required) => {
    if (count >= required.length) return;
    const quoted = required.map((name) => `"${name}"`).join(" and ");
    const what = required.length > 1 ? "arguments" : "argument";
    throw failure(`The ${quoted} ${what} must be specified`, "ERR_MISSING_ARGS");
  };
  const withoutMark = (query) => (query.startsWith("?") ? query.slice(1) : query);

  // What the two classes and their iterators know of each other.
  let listOf, queryOf, readQuery, partsOf, setPart;

  class URLSearchParams {
    /// The names and values, alternately.
    #list = [];
    /// The URL whose query this is.
    #url;

    static {
      listOf = (params) => params.#list;
      queryOf = (url, search) => {
        const params = new URLSearchParams(search);
        params.#url = url;
        return params;
      };
      readQuery = (params, search) => { params.#list = native.parseQuery(withoutMark(search)); };
    }
    constructor(init) {
      if (init === undefined || init === null) return;
      if (typeof init !== "object" && typeof init !== "function") {
        this.#list = native.parseQuery(withoutMark(textOf(init)));
      } else if (init[Symbol.iterator] === undefined || init[Symbol.iterator] === null) {
        const values = new Map();
        for (const key of Reflect.ownKeys(init)) {
          if (Reflect.getOwnPropertyDescriptor(init, key)?.enumerable) values.set(textOf(key), textOf(init[key]));
        }
        this.#list = [...values].flat();
      } else {
        if (typeof init[Symbol.iterator] !== "function") {
          throw failure("Query pairs must be iterable", "ERR_ARG_NOT_ITERABLE");
        }
        for (const pair of init) this.#list.push(...tuple(pair));
      }
    }
    /// The URL first, which may refuse it.
    #replace(list) {
      if (this.#url !== undefined) setPart(this.#url, "search", native.formatQuery(list));
      this.#list = list;
    }
    get size() { return this.#list.length / 2; }
    append(name, value) {
      need(arguments.length, "name", "value");
      const pair = [textOf(name), textOf(value)];
      if (this.#url === undefined) this.#list.push(...pair);
      else this.#replace([...this.#list, ...pair]);
    }
    delete(name, value) {
      need(arguments.length, "name");
      const matches = matcher(name, value);
      this.#replace(this.#list.filter((_, at, list) => !matches(list[at & ~1], list[at | 1])));
    }
    get(name) {
      need(arguments.length, "name");
      const wanted = textOf(name);
      const list = this.#list;
      for (let at = 0; at < list.length; at += 2) if (list[at] === wanted) return list[at + 1];
      return null;
    }
    getAll(name) {
      need(arguments.length, "name");
      const wanted = textOf(name);
      return this.#list.filter((_, at, list) => at % 2 === 1 && list[at - 1] === wanted);
    }
    has(name, value) {
      need(arguments.length, "name");
      const matches = matcher(name, value);
      return this.#list.some((item, at, list) => at % 2 === 0 && matches(item, list[at + 1]));
    }
    set(name, value) {
      need(arguments.length, "name", "value");
      const [wanted, text] = [textOf(name), textOf(value)];
      const list = [];
      let isSet = false;
      for (let at = 0; at < this.#list.length; at += 2) {
        const [other, held] = [this.#list[at], this.#list[at + 1]];
        if (other !== wanted) list.push(other, held);
        else if (!isSet) {
          list.push(wanted, text);
          isSet = true;
        }
      }
      if (!isSet) list.push(wanted, text);
      this.#replace(list);
    }
    sort() {
      const pairs = [];
      for (let at = 0; at < this.#list.length; at += 2) pairs.push([this.#list[at], this.#list[at + 1]]);
      // By code units, and stable.
      pairs.sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0));
      this.#replace(pairs.flat());
    }
    forEach(callback, receiver) {
      if (typeof callback !== "function") {
        throw failure('The "callback" argument must be of type function.', "ERR_INVALID_ARG_TYPE");
      }
      for (let at = 0; at < this.#list.length; at += 2) {
        callback.call(receiver, this.#list[at + 1], this.#list[at], this);
      }
    }
    entries() { return iterate(this, (name, value) => [name, value]); }
    keys() { return iterate(this, (name) => name); }
    values() { return iterate(this, (_, value) => value); }
    toString() { return native.formatQuery(this.#list); }
    [custom](depth, options, inspect) {
      const pairs = [...this].map(([name, value]) => `${inspect(name)} => ${inspect(value)}`);
      return pairs.length === 0 ? "URLSearchParams {}" : `URLSearchParams { ${pairs.join(", ")} }`;
    }
  }

  const tuple = (pair) => {
    const isIterable = (typeof pair === "object" || typeof pair === "function")
      && typeof pair?.[Symbol.iterator] === "function";
    const items = isIterable ? (isArray(pair) ? pair : [...pair]) : [];
    if (items.length !== 2) {
      throw failure("Each query pair must be an iterable [name, value] tuple", "ERR_INVALID_TUPLE");
    }
    return [textOf(items[0]), textOf(items[1])];
  };

  const matcher = (name, value) => {
    const wanted = textOf(name);
    if (value === undefined) return (other) => other === wanted;
    const text = textOf(value);
    return (other, held) => other === wanted && held === text;
  };

  const iteratorPrototype = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()));
  const prototype = Object.create(iteratorPrototype, {
    [Symbol.toStringTag]: { value: "URLSearchParams Iterator", configurable: true },
  });
  /// Sees changes that are made while it runs, as the standard wants it.
  const iterate = (params, pick) => {
    let at = 0;
    listOf(params);
    const next = () => {
      const list = listOf(params);
      if (at >= list.length) return { value: undefined, done: true };
      at += 2;
      return { value: pick(list[at - 2], list[at - 1]), done: false };
    };
    return Object.create(prototype, { next: { value: next, writable: true, configurable: true } });
  };

  const invalid = (input, base) =>
    failure("Invalid URL", "ERR_INVALID_URL", base === undefined ? { input } : { input, base });
  const parse = (count, url, base) => {
    need(count, "url");
    const input = textOf(url);
    const on = base === undefined ? undefined : textOf(base);
    return { input, on, parts: native.parseUrl(input, on) };
  };

  class URL {
    #parts;
    #params;

    static {
      partsOf = (url) => url.#parts;
      setPart = (url, name, value) => {
        const parts = name === "href" ? native.parseUrl(value, undefined) : native.setUrl(url.#parts[0], name, value);
        if (parts) url.#parts = parts;
        else if (name === "href") throw invalid(value);
        return url.#params;
      };
    }
    constructor(url, base) {
      const { input, on, parts } = parse(arguments.length, url, base);
      if (!parts) throw invalid(input, on);
      this.#parts = parts;
    }
    static canParse(url, base) { return Boolean(parse(arguments.length, url, base).parts); }
    static parse(url, base) {
      const { input, on, parts } = parse(arguments.length, url, base);
      return parts ? new URL(input, on) : null;
    }
    get searchParams() {
      this.#params ??= queryOf(this, partsOf(this)[names.indexOf("search")]);
      return this.#params;
    }
    toString() { return partsOf(this)[0]; }
    toJSON() { return partsOf(this)[0]; }
    [custom]() {
      const shown = Object.create({ constructor: this.constructor });
      for (const name of names) {
        if (name === "hash") shown.searchParams = this.searchParams;
        shown[name] = this[name];
      }
      return shown;
    }
  }
  names.forEach((name, place) => {
    const set = function (value) {
      const params = setPart(this, name, textOf(value));
      if (params !== undefined && (name === "href" || name === "search")) readQuery(params, this.search);
    };
    Object.defineProperty(URL.prototype, name, {
      get() { return partsOf(this)[place]; },
      set: name === "origin" ? undefined : set,
      enumerable: true,
      configurable: true,
    });
  });
  const finish = ({ prototype, name }, methods) => {
    Object.defineProperty(prototype, Symbol.toStringTag, { value: name, configurable: true });
    for (const method of methods) Object.defineProperty(prototype, method, { enumerable: true });
  };
  finish(URL, ["searchParams", "toString", "toJSON"]);
  finish(URLSearchParams, ["append", "delete", "get", "getAll", "has", "set", "sort", "forEach", "entries",
    "keys", "values", "toString", "size"]);
  Object.defineProperty(URLSearchParams.prototype, Symbol.iterator, {
    value: URLSearchParams.prototype.entries, writable: true, configurable: true,
  });
  uncloneable.push(URL, URLSearchParams);
  define(globalThis, { URL, URLSearchParams });

  // ---- The module

  const fileURLToPath = (path) => {
    const url = typeof path === "string" ? new URL(path) : path;
    if (!(url instanceof URL)) {
      throw failure('The "path" argument must be of type string or an instance of URL.', "ERR_INVALID_ARG_TYPE");
    }
    if (url.protocol !== "file:") throw failure("The URL must be of scheme file", "ERR_INVALID_URL_SCHEME");
    if (url.hostname !== "") {
      const message = 'File URL host must be "localhost" or empty on linux';
      throw failure(message, "ERR_INVALID_FILE_URL_HOST");
    }
    if (/%2f/i.test(url.pathname)) {
      throw failure("File URL path must not include encoded / characters", "ERR_INVALID_FILE_URL_PATH", { input: url });
    }
    return decodeURIComponent(url.pathname);
  };
  const pathToFileURL = (path) => {
    if (typeof path !== "string") {
      throw failure('The "path" argument must be of type string.', "ERR_INVALID_ARG_TYPE");
    }
    const absolute = (path.startsWith("/") ? path : `${internals.process.cwd()}/${path}`).replace(/\/+/g, "/");
    // What the parser would not take for a part of the path.
    return new URL(`file://${absolute.replace(/[%\\\n\r\t?#]/g, encodeURIComponent)}`);
  };
  const domainToASCII = (domain) => native.domainToAscii(textOf(domain));
  const domainToUnicode = (domain) => native.domainToUnicode(textOf(domain));
  internals.provide(["url", "node:url"], () =>
    ({ URL, URLSearchParams, fileURLToPath, pathToFileURL, domainToASCII, domainToUnicode }));
})
