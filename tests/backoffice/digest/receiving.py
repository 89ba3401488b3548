"""Servers in the place of Discord and of a mail server: real sockets, and they keep what they were sent."""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import threading
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "a-secret-token-of-the-webhook"


@dataclass(frozen=True)
class Posted:
    """One POST: its path, the fields of its form by name."""

    path: str
    fields: dict[str, EmailMessage]

    @property
    def payload(self) -> dict[str, Any]:
        """What the message says."""
        decoded: dict[str, Any] = json.loads(self.fields["payload_json"].get_content())
        return decoded

    @property
    def file(self) -> tuple[str, bytes]:
        """The attached file's name and content."""
        part = self.fields["files[0]"]
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        return part.get_filename() or "", content


class Webhook:
    """An HTTP server that answers each POST with `status`; or cuts the connection after it was read whole."""

    def __init__(self) -> None:
        self.status = 204
        self.headers: dict[str, str] = {}
        self.cut = False
        self.posts: list[Posted] = []
        self.gate = threading.Event()
        self.gate.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.posts.append(Posted(self.path, _fields(self.headers["Content-Type"], body)))
                outer.gate.wait(10)
                if outer.cut:
                    hard = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, hard)
                    self.connection.close()
                    return
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The webhook's address."""
        return f"http://127.0.0.1:{self._server.server_port}/api/webhooks/1/{SECRET}"

    def stop(self) -> None:
        """Stop listening."""
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()


def _fields(content_type: str, body: bytes) -> dict[str, EmailMessage]:
    parsed = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body, policy=policy.HTTP)
    found = {}
    for part in parsed.iter_parts():
        name = part.get_param("name", header="content-disposition")
        found[str(name)] = part
    return found


class MailServer:
    """As much of SMTP as one client needs; `refuse` is answered to the recipient, `hang_up` after the data."""

    def __init__(self) -> None:
        self.refuse = False
        self.hang_up = False
        self.mails: list[EmailMessage] = []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.say("220 ready")
                while line := self.rfile.readline().decode().strip():
                    verb = line.split(":")[0].split(" ")[0].upper()
                    if verb == "DATA":
                        self.say("354 go on")
                        data = b""
                        while not data.endswith(b"\r\n.\r\n"):
                            data += self.rfile.readline()
                        outer.mails.append(message_from_bytes(data[:-3], policy=policy.default))
                        if outer.hang_up:
                            return
                        self.say("250 taken")
                    elif verb == "RCPT" and outer.refuse:
                        self.say("550 nobody of that name")
                    elif verb == "QUIT":
                        self.say("221 bye")
                        return
                    else:
                        self.say("250 ok")

            def say(self, line: str) -> None:
                self.wfile.write(line.encode() + b"\r\n")

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
