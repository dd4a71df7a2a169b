// Functions for aws-lambda-ric: they do what their event says.
import { threadId } from 'node:worker_threads';
import { setTimeout } from 'node:timers/promises';

class Dry extends Error {
  constructor(message) {
    super(message);
    this.name = 'Dry';
  }
}

export async function handler(event, context) {
  switch (event.do) {
    case 'echo':
      return { value: event.value, id: context.awsRequestId, process: process.pid, thread: threadId };
    case 'wait':
      await setTimeout(event.seconds * 1000);
      return threadId;
    case 'raise':
      throw new Dry(event.message);
    case 'answer':
      return 'a'.repeat(event.bytes);
  }
}

// Streams to the service on a connection of Node.js, beside the client.
export const stream = awslambda.streamifyResponse(async (event, out) => {
  out.setContentType('text/plain');
  out.write('one\n');
  await setTimeout(1);
  out.write(`${event.value}\n`);
  out.end();
});
