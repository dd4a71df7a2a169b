// Streamed responses, as in Node on Lambda.
(function stream(internals) {
  "use strict";
  const { native, define, streaming, EventEmitter } = internals;

  /// As of a stream of Node.
  const HIGH_WATER_MARK = 65536;

  const closed = () => Object.assign(new Error("write after end"), { code: "ERR_STREAM_WRITE_AFTER_END" });

  // What the runtime and HttpResponseStream know of a stream.
  let setPrelude, progress;

  /// The response of an invocation. Another thread writes its pieces.
  class ResponseStream extends EventEmitter {
    /// The context of the invocation that it answers.
    #request;
    #highWaterMark;
    #contentType = "application/octet-stream";
    #prelude;
    #hasBegun = false;
    #isEnded = false;
    #isFinished = false;
    #onFinish;
    /// Why further pieces are lost.
    #error;
    /// The pieces that were not written when the runtime last looked, and their length together.
    #pieces = [];
    #length = 0;
    #needsDrain = false;

    static {
      setPrelude = (stream, prelude) => {
        if (stream.#hasBegun) throw new Error("the response has begun already");
        stream.#prelude = prelude;
        return stream;
      };
      progress = (stream, ...news) => stream.#progress(...news);
    }
    constructor(request, highWaterMark) {
      super();
      this.#request = request;
      this.#highWaterMark = highWaterMark ?? HIGH_WATER_MARK;
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
      internals.stream = this;
    }
    /// So many pieces have been written. Listeners and callbacks run as jobs, so that what one of
    /// them throws keeps no other from its call.
    #progress(count, isOver, hasFinished) {
      const written = this.#pieces.splice(0, count);
      for (const { length } of written) this.#length -= length;
      if (isOver && this.#error === undefined) {
        this.#error = Object.assign(new Error("the Runtime API accepts no more of this response"), { code: "EPIPE" });
        // Otherwise the next write says so.
        if (this.listenerCount("error") > 0) process.nextTick(() => this.emit("error", this.#error));
      }
      if (this.writableNeedDrain && this.#length === 0) {
        this.#needsDrain = false;
        process.nextTick(() => this.emit("drain"));
      }
      for (const { done } of written) if (done !== undefined) process.nextTick(done);
      if (isOver) {
        for (const { done } of this.#pieces.splice(0)) if (done !== undefined) process.nextTick(done, this.#error);
        this.#length = 0;
      }
      if (!hasFinished) return;
      this.#isFinished = this.#error === undefined;
      process.nextTick(() => {
        if (this.#isFinished) this.emit("finish");
        this.#onFinish?.(this.#error);
        this.emit("close");
      });
    }
    setContentType(contentType) {
      if (this.#hasBegun) throw new Error("the response has begun already");
      this.#contentType = String(contentType);
    }
    get writable() { return !this.#isEnded && this.#error === undefined; }
    get writableEnded() { return this.#isEnded; }
    get writableFinished() { return this.#isFinished; }
    get writableNeedDrain() { return this.#needsDrain && this.writable; }
    get writableLength() { return this.#length; }
    get writableHighWaterMark() { return this.#highWaterMark; }
    write(chunk, encoding, callback) {
      const done = [encoding, callback].find((value) => typeof value === "function");
      if (this.#isEnded) throw closed();
      this.#begin();
      const length = native.write(typeof chunk === "string" ? encode(chunk, encoding) : view(chunk));
      this.#pieces.push({ length, done });
      this.#length += length;
      const hasRoom = this.#length < this.#highWaterMark;
      if (!hasRoom) this.#needsDrain = true;
      return hasRoom;
    }
    end(chunk, encoding, callback) {
      const done = [chunk, encoding, callback].find((value) => typeof value === "function");
      if (this.#isEnded) return this;
      if (chunk === undefined || chunk === null || typeof chunk === "function") this.#begin();
      else this.write(chunk, typeof encoding === "string" ? encoding : undefined);
      this.#isEnded = true;
      this.#onFinish = done;
      native.finish();
      return this;
    }
    destroy(error) {
      if (error !== undefined) this.emit("error", error);
      return this;
    }
    cork() {}
    uncork() {}
  }

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
  const streamifyResponse = (handler, options) => {
    if (typeof handler !== "function") throw new TypeError("streamifyResponse takes a function");
    const mark = options?.highWaterMark;
    const highWaterMark = typeof mark === "number" && mark >= 0 ? Math.trunc(mark) : undefined;
    Object.defineProperty(handler, streaming, { value: { highWaterMark }, configurable: true });
    return handler;
  };
  define(globalThis, { awslambda: { streamifyResponse, HttpResponseStream } });
  internals.newStream = (request, highWaterMark) => new ResponseStream(request, highWaterMark);
  /// The connection has taken something of the stream, or lost it.
  internals.streamed = (...news) => { if (internals.stream !== undefined) progress(internals.stream, ...news); };
})
