"""A function for awslambdaric: it does what its event says."""

import os
import threading
import time


class Dry(Exception):
    pass


def handler(event, context):
    match event["do"]:
        case "echo":
            return {
                "value": event["value"],
                "id": context.aws_request_id,
                "process": os.getpid(),
                "thread": threading.get_native_id(),
            }
        case "wait":
            time.sleep(event["seconds"])
            return os.getpid()
        case "raise":
            raise Dry(event["message"])
        case "answer":
            return "a" * event["bytes"]
