// lambda-conformance client --can describe --can fail --can panic --can answer --can stream --can http \
//   --can start --can snapshot --can concurrency env LAMBDA_QUICKJS_MODE=raw LAMBDA_TASK_ROOT=examples \
//   _HANDLER=conformance.handler lambda-quickjs

// The function that the vectors of the Runtime API are played against: see conformance/README.md.
import { afterRestore, beforeSnapshot } from "lambda";

const failIfTold = (variable) => {
  if (process.env[variable] === "fail") {
    throw Object.assign(new Error(`${variable} says so`), { name: "Function.Told" });
  }
};

failIfTold("CONFORMANCE_START");
beforeSnapshot(() => failIfTold("CONFORMANCE_BEFORE_SNAPSHOT"));
afterRestore(() => failIfTold("CONFORMANCE_AFTER_RESTORE"));

const fail = ({ type, message, times = 1, stack_trace: stack = "" }) => {
  throw Object.assign(new Error(message.repeat(times)), { name: type, stack });
};

const write = (stream, { chunks, fail: failure }) => {
  for (const chunk of chunks) {
    stream.write(typeof chunk === "string" ? chunk : chunk.repeat.repeat(chunk.times));
  }
  if (failure) fail(failure);
  stream.end();
};

const tasks = {
  describe(_, context) {
    const described = {
      request_id: context.awsRequestId,
      attempt_id: context.attemptId,
      deadline_ms: context.deadline,
      function_arn: context.invokedFunctionArn,
      trace_id: context.traceId,
      client_context: context.clientContext,
      cognito_identity: context.identity,
      tenant_id: context.tenantId,
      content_type: context.contentType,
    };
    return { body: JSON.stringify(described), contentType: "application/json" };
  },
  fail,
  panic({ message }) { throw new Error(message); },
  answer({ bytes, content_type: contentType }) { return { body: "a".repeat(bytes), contentType }; },
  stream(told, context) {
    const stream = context.stream();
    if (told.content_type) stream.setContentType(told.content_type);
    write(stream, told);
  },
  http(told, context) {
    const { status: statusCode, headers = [], cookies } = told;
    const http = { statusCode, headers: Object.fromEntries(headers), cookies };
    write(awslambda.HttpResponseStream.from(context.stream(), http), told);
  },
};

export const handler = (event, context) => {
  let told;
  try {
    told = JSON.parse(new TextDecoder().decode(event));
  } catch {}
  const task = typeof told === "object" && told !== null && Object.hasOwn(tasks, told.do) && tasks[told.do];
  return task ? task(told, context) : { body: event, contentType: context.contentType };
};
