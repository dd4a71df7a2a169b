// An event is emitted, its listener is asynchronous, and the handler does not wait for it.
import { EventEmitter } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

const accounts = new EventEmitter();
accounts.on("opened", async ({ owner }) => {
  await sleep(200);
  console.log(`work of ${owner}`);
});

export const handler = async ({ number }) => {
  if (number === 1) accounts.emit("opened", { owner: number });
  // A later invocation that takes its time.
  if (number === 2) await sleep(300);
  return "answer";
};
