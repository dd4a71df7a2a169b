"""An echo handler for awslambdaric."""


def handler(event, _context):
    return event
