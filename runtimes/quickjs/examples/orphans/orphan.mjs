// An event is emitted, its listener is asynchronous, and the handler does not wait for it.
import { EventEmitter } from "node:events";

const accounts = new EventEmitter();
accounts.on("opened", async ({ owner }) => {
  await new Promise((done) => setTimeout(done, 200));
  console.log(`work of ${owner}`);
});

export const handler = async ({ number }) => {
  accounts.emit("opened", { owner: number });
  return "answer";
};
