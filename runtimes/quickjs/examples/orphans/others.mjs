// Handlers that leave something undone in the invocation with the number 1, each in its own way.
import { setTimeout as sleep } from "node:timers/promises";

const work = async (...steps) => {
  for (const ms of steps) await sleep(ms);
  console.log("work of 1");
};

/// A handler that begins something in invocation 1, and takes its time in invocation 2.
const beginning = (begin, { busy = 300 } = {}) => async ({ number }, context) => {
  if (number === 1) begin(context);
  if (number === 2 && busy) await sleep(busy);
  return "answer";
};

/// An async function that nobody awaits.
export const unawaited = beginning(() => { work(100, 100); });

/// A promise that is rejected before the answer.
export const rejected = beginning(() => { Promise.reject(new Error("work of 1")); });

/// The same 50 ms after the answer.
export const rejectedLate = beginning(() => {
  sleep(50).then(() => Promise.reject(new Error("work of 1")));
});

/// An error in a timer, after the answer.
export const thrownLate = beginning(() => {
  setTimeout(() => { throw new Error("work of 1"); }, 50);
});

/// Work that awaits a promise which a later invocation settles, such as that of a connection pool.
const waiting = [];
const leaveWaiting = beginning(() => {
  new Promise((done) => waiting.push(done)).then(() => console.log("work of 1"));
}, { busy: 0 });
export const shared = async (event, context) => {
  if (event.number === 2) waiting.forEach((done) => done());
  return leaveWaiting(event, context);
};

/// Work that is handed over. Node's context has no such method.
export const waited = beginning((context) => {
  const promise = work(1500);
  context.waitUntil?.(promise);
}, { busy: 0 });

/// An interval, such as a heartbeat.
export const interval = beginning(() => { setInterval(() => console.log("work of 1"), 100); });

/// The timer that closes an idle connection after a minute.
export const idle = beginning(() => { setTimeout(() => {}, 60_000); }, { busy: 0 });

/// A promise that never settles.
export const pending = ({ number }) => (number === 1 ? new Promise(() => {}) : "answer");

/// The form of Node 22 and before.
export const callback = (event, context, done) => done(null, "answer");

/// An error in the middle of a stream.
export const broken = awslambda.streamifyResponse(async ({ number }, stream) => {
  stream.write("answer");
  if (number === 1) throw new Error("broken");
  stream.end();
});

/// A stream without its end.
export const open = awslambda.streamifyResponse(async ({ number }, stream) => {
  stream.write("answer");
  if (number > 1 || !number) stream.end();
});
