#!/bin/sh
# The form of the common guide: a shell loop that starts curl and LuaJIT for each event.
runtime="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
cd "$LAMBDA_TASK_ROOT" || exit 1
head=$(mktemp)
trap 'rm -f "$head"' EXIT
script="${_HANDLER%%.*}.lua"
if [ ! -f "$script" ]; then
  curl -sS -X POST "$runtime/init/error" -d "no file $script" >/dev/null
  exit 1
fi

header() { sed -n "s/^$1: *//Ip" "$head" | tr -d '\r'; }

while true; do
  event=$(curl -sS -D "$head" "$runtime/invocation/next") || exit 1
  id=$(header Lambda-Runtime-Aws-Request-Id)
  export _X_AMZN_TRACE_ID="$(header Lambda-Runtime-Trace-Id)"
  if output=$(luajit "$script" "$event"); then
    curl -sS -X POST "$runtime/invocation/$id/response" -d "$output" >/dev/null
  else
    curl -sS -X POST "$runtime/invocation/$id/error" -d "{\"errorMessage\":\"$output\"}" >/dev/null
  fi
done
