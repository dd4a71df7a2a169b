"""A function for awslambdaric that does what its event says."""

import json
import os


class Dry(Exception):
    pass


def handler(event, context):
    match event["do"]:
        case "echo":
            return event["value"]
        case "answer":
            return "a" * event["bytes"]
        case "raise":
            raise Dry(event["message"])
        case "exit":
            os._exit(event["code"])
        case "describe":
            client = context.client_context
            return {
                "process": os.getpid(),
                "request_id": context.aws_request_id,
                "function": context.invoked_function_arn,
                "name": context.function_name,
                "version": context.function_version,
                "memory": context.memory_limit_in_mb,
                "log_group": context.log_group_name,
                "remaining": context.get_remaining_time_in_millis(),
                "tenant_id": context.tenant_id,
                "client": client and {"title": client.client.app_title, "custom": client.custom},
                "trace_id": os.environ.get("_X_AMZN_TRACE_ID"),
                "handler": os.environ.get("_HANDLER"),
            }


def broken_by_json(event, context):
    return {"a": object()}
