"""The handler of awslambdaric: answers every event with itself."""


def handler(event, _context):
    return event
