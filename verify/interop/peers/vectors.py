"""The function for the vectors in `conformance/`, with the abilities that awslambdaric has."""

import os

if os.environ.get("CONFORMANCE_START") == "fail":
    raise RuntimeError("it was to fail")


def handler(event, context):
    do = event.get("do") if isinstance(event, dict) else None
    if do == "panic":
        raise RuntimeError(event["message"])
    if do == "fail":
        # awslambdaric reports the name of the exception's class as the error type.
        name = event["type"].rsplit(".", 1)[-1]
        raise type(name, (Exception,), {})(event["message"] * event.get("times", 1))
    return event
