// Streamed responses, as in Node on Lambda.
(function stream(internals) {
  "use strict";
  const { native, define, streaming, EventEmitter } = internals;

  const closed = () => Object.assign(new Error("write after end"), { code: "ERR_STREAM_WRITE_AFTER_END" });

  /// The response of an invocation. A write blocks until the connection has taken it, so there is
  /// nothing to wait for afterwards.
  class ResponseStream extends EventEmitter {
    /// The context of the invocation that it answers.
    #request;
    #contentType = "application/octet-stream";
    #prelude;
    #hasBegun = false;
    #isEnded = false;

    constructor(request) {
      super();
      this.#request = request;
    }
    static setPrelude(stream, prelude) {
      if (stream.#hasBegun) throw new Error("the response has begun already");
      stream.#prelude = prelude;
      return stream;
    }
    #begin() {
      if (this.#request !== internals.context) {
        throw new Error("the stream is over: it belongs to an earlier invocation");
      }
      if (this.#hasBegun) return;
      const error = this.#prelude === undefined ? native.stream(this.#contentType)
        : native.streamHttp(this.#prelude.status, this.#prelude.headers, this.#prelude.cookies);
      if (error !== undefined && error !== null) throw new Error(error);
      this.#hasBegun = true;
    }
    setContentType(contentType) {
      if (this.#hasBegun) throw new Error("the response has begun already");
      this.#contentType = String(contentType);
    }
    get writable() { return !this.#isEnded; }
    get writableEnded() { return this.#isEnded; }
    get writableFinished() { return this.#isEnded; }
    get writableNeedDrain() { return false; }
    get writableLength() { return 0; }
    get writableHighWaterMark() { return 65536; }
    write(chunk, encoding, callback) {
      const done = typeof encoding === "function" ? encoding : callback;
      if (this.#isEnded) throw closed();
      this.#begin();
      const bytes = typeof chunk === "string" ? encode(chunk, encoding) : view(chunk);
      const error = native.write(bytes);
      if (error !== undefined && error !== null) throw new Error(error);
      if (typeof done === "function") process.nextTick(done);
      return true;
    }
    end(chunk, encoding, callback) {
      const done = [chunk, encoding, callback].find((value) => typeof value === "function");
      if (this.#isEnded) return this;
      if (chunk !== undefined && chunk !== null && typeof chunk !== "function") this.write(chunk, encoding);
      else this.#begin();
      this.#isEnded = true;
      native.finish();
      process.nextTick(() => {
        this.emit("finish");
        done?.();
        this.emit("close");
      });
      return this;
    }
    destroy(error) {
      if (error !== undefined) this.emit("error", error);
      return this;
    }
    cork() {}
    uncork() {}
  }
  const { setPrelude } = ResponseStream;
  delete ResponseStream.setPrelude;

  const encode = (text, encoding) =>
    encoding === "base64" ? native.fromBase64(text) : text.toWellFormed();
  const view = (chunk) => {
    if (chunk instanceof Uint8Array || chunk instanceof ArrayBuffer) return chunk;
    if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const error = new TypeError('The "chunk" argument must be of type string, Uint8Array or ArrayBuffer');
    throw Object.assign(error, { code: "ERR_INVALID_ARG_TYPE" });
  };

  const HttpResponseStream = {
    /// The same stream with a status and headers.
    from(stream, { statusCode = 200, headers = {}, cookies = [] } = {}) {
      const pairs = Object.entries(headers).flatMap(([name, value]) => [name, String(value)]);
      return setPrelude(stream, { status: statusCode, headers: pairs, cookies: cookies.map(String) });
    },
  };
  const streamifyResponse = (handler) => {
    if (typeof handler !== "function") throw new TypeError("streamifyResponse takes a function");
    Object.defineProperty(handler, streaming, { value: true });
    return handler;
  };
  define(globalThis, { awslambda: { streamifyResponse, HttpResponseStream } });
  internals.newStream = (request) => new ResponseStream(request);
})
