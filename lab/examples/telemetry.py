#!/usr/bin/env python3
"""An external extension that says what it is told: events, and telemetry of the platform and the function.

    lambda-lab serve --extension lab/examples/telemetry.py target/release/examples/echo

It needs Python's standard library only. Each line is a time, a kind and a JSON document. The time, in UTC, is when
telemetry happened, or when an event for the extension arrived. The lines go to standard error, or into the file that
TELEMETRY_OUTPUT names. An extension must not write such lines to its own output if it subscribes to the type
"extension": each would be telemetry, about which it would write the next.
"""

import json
import os
import sys
import threading
from datetime import datetime, timezone
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Lambda knows an external extension by the name of its file.
NAME = os.path.basename(sys.argv[0])
LOCK = threading.Lock()


def tell(kind, document, time=None):
    time = time or datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    # Without the date.
    line = f"{NAME}: {time[11:23]} {kind} {json.dumps(document, separators=(',', ':'))}\n"
    output = os.environ.get("TELEMETRY_OUTPUT")
    with LOCK:
        if output:
            with open(output, "a", encoding="utf-8") as file:
                file.write(line)
        else:
            sys.stderr.write(line)
            sys.stderr.flush()


class Listener(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        events = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for event in events:
            tell(event["type"], event["record"], event["time"])
        # Anything but 200 would ask for the same events again.
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Service:
    """The Extensions API and the Telemetry API, for one extension."""

    def __init__(self):
        # Without a timeout: the process may be frozen while it waits for an event.
        self.connection = HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
        self.headers = {"Lambda-Extension-Name": NAME}
        headers, _ = self.call("POST", "/2020-01-01/extension/register", {"events": ["INVOKE", "SHUTDOWN"]})
        self.headers = {"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}

    def call(self, method, path, document=None):
        body = None if document is None else json.dumps(document)
        headers = {"Content-Type": "application/json"} if body else {}
        self.connection.request(method, path, body, {**headers, **self.headers})
        reply = self.connection.getresponse()
        text = reply.read()
        if reply.status == 202:
            tell("no telemetry", json.loads(text))
        elif reply.status != 200:
            sys.exit(f"{method} {path} got {reply.status}: {text.decode()}")
        return reply.headers, json.loads(text)


def main():
    service = Service()
    # It has to listen before it subscribes.
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    port = listener.server_address[1]
    service.call(
        "PUT",
        "/2022-07-01/telemetry",
        {
            "schemaVersion": "2022-12-13",
            "types": ["platform", "function"],
            "buffering": {"timeoutMs": 25},
            "destination": {"protocol": "HTTP", "URI": f"http://sandbox.localdomain:{port}"},
        },
    )
    while True:
        _, event = service.call("GET", "/2020-01-01/extension/event/next")
        kind = event.pop("eventType")
        tell(kind, event)
        if kind == "SHUTDOWN":
            return


main()
