"""The function of the vectors in `conformance/`, as far as awslambdaric lets it be one."""

import os

if os.environ.get("CONFORMANCE_START") == "fail":
    raise RuntimeError("it was to fail")


def handler(event, context):
    do = event.get("do") if isinstance(event, dict) else None
    if do == "panic":
        raise RuntimeError(event["message"])
    if do == "fail":
        # The type of an error is the name of its class.
        name = event["type"].rsplit(".", 1)[-1]
        raise type(name, (Exception,), {})(event["message"] * event.get("times", 1))
    return event
