// Handlers that leave something undone, each in its own way. `number` counts the invocations.
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/// An async function that nobody awaits.
export const unawaited = async ({ number }) => {
  (async () => {
    await sleep(100);
    console.log(`work of ${number}`);
  })();
  return "answer";
};

/// A promise that is rejected before the answer.
export const rejected = async ({ number }) => {
  if (number === 1) Promise.reject(new Error(`work of ${number}`));
  return "answer";
};

/// The same 50 ms after the answer.
export const rejectedLate = async ({ number }) => {
  if (number === 1) sleep(50).then(() => Promise.reject(new Error(`work of ${number}`)));
  if (number === 2) await sleep(150);
  return "answer";
};

/// An error in a timer.
export const thrownLate = async ({ number }) => {
  if (number === 1) setTimeout(() => { throw new Error(`work of ${number}`); }, 50);
  if (number === 2) await sleep(150);
  return "answer";
};

/// A promise that never settles.
export const pending = ({ number }) => (number === 1 ? new Promise(() => {}) : "answer");

/// Work that was handed over.
export const waited = async ({ number }, context) => {
  context.waitUntil?.(sleep(400).then(() => console.log(`work of ${number}`)));
  return "answer";
};

/// An interval, such as that of a keep-alive.
export const interval = async ({ number }) => {
  if (number === 1) setInterval(() => console.log(`work of ${number}`), 700);
  return "answer";
};

/// A stream without its end.
export const open = globalThis.awslambda?.streamifyResponse(async ({ number }, stream) => {
  stream.write("answer");
  if (number > 1) stream.end();
});
