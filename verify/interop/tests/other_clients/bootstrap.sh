#!/bin/bash
# The loop of a custom runtime in shell, as in AWS's tutorial.
set -euo pipefail

source "$LAMBDA_TASK_ROOT/${_HANDLER%.*}.sh"
api="http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime"
headers="$TMPDIR/headers"

while true; do
    event=$(curl -sS -L -D "$headers" "$api/invocation/next")
    id=$(grep -Fi Lambda-Runtime-Aws-Request-Id "$headers" | tr -d '[:space:]' | cut -d: -f2)
    if answer=$("${_HANDLER#*.}" "$event"); then
        curl -sS -o /dev/null "$api/invocation/$id/response" -d "$answer"
    else
        curl -sS -o /dev/null "$api/invocation/$id/error" \
            -H 'Lambda-Runtime-Function-Error-Type: Function.Failed' \
            -d '{"errorType":"Function.Failed","errorMessage":"the handler has failed"}'
    fi
done
