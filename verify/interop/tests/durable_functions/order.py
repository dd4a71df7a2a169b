"""A durable function: three steps, between which it waits for a time and for somebody's approval."""

import os

from aws_durable_execution_sdk_python.config import Duration
from aws_durable_execution_sdk_python.context import durable_step
from aws_durable_execution_sdk_python.execution import durable_execution


def say(what):
    print(f"process {os.getpid()}: {what}", flush=True)


@durable_step
def charge(step, amount):
    say(f"charge {amount}")
    return {"charged": amount}


@durable_step
def pack(step, item):
    say(f"pack {item}")
    return {"packed": item}


@durable_step
def ship(step, item, approval):
    say(f"ship {item}")
    return {"shipped": item, "approval": approval}


def ask(callback, step):
    say(f"approve {callback}")


@durable_execution
def handler(event, context):
    paid = context.step(charge(event["amount"]))
    context.wait(Duration.from_seconds(1))
    packed = context.step(pack(event["item"]))
    approval = context.wait_for_callback(ask, name="approval")
    return paid | packed | context.step(ship(event["item"], approval))
