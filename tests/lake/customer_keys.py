"""An S3 server that is strict about keys of customers, as Amazon's is and moto's is not: a proxy before moto's."""

from __future__ import annotations

import contextlib
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_KEY = "x-amz-server-side-encryption-customer-key-MD5"
_ALGORITHM = "x-amz-server-side-encryption-customer-algorithm"


class StrictServer(ThreadingHTTPServer):
    """Remembers with which key each object was written, and answers nobody who does not bring it.

    Attributes:
        keys: The MD5 of the key by path, None of what was written without one.
        refused: Requests that came without the key, or with another one.
    """

    daemon_threads = True

    def __init__(self, behind: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = urlsplit(behind).netloc
        self.keys: dict[str, str | None] = {}
        self.refused: list[tuple[str, str]] = []

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: StrictServer
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        key = self.headers.get(_KEY) if self.headers.get(_ALGORITHM) == "AES256" else None
        is_object = path.count("/") > 1 and path.strip("/").count("/") > 0
        if is_object and self.command in {"GET", "HEAD"} and self.server.keys.get(path, key) != key:
            self.server.refused.append((self.command, path))
            self._send(400, [], b"" if self.command == "HEAD" else b"<Error><Code>InvalidRequest</Code></Error>")
            return
        connection = http.client.HTTPConnection(self.server.behind, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        connection.request(self.command, self.path, body, headers)
        response = connection.getresponse()
        content = response.read()
        begins = self.command == "POST" and query.startswith("uploads")
        if is_object and response.status < 300 and (begins or (self.command == "PUT" and "uploadId=" not in query)):
            self.server.keys[path] = key
        self._send(response.status, response.getheaders(), content)
        connection.close()

    def _send(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in {"connection", "transfer-encoding"} | (
                set() if self.command == "HEAD" else {"content-length"}
            ):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


for _method in ("GET", "PUT", "POST", "HEAD", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler._answer)


@contextlib.contextmanager
def strict_server(behind: str) -> Iterator[StrictServer]:
    """A server that asks for keys.

    Args:
        behind: The address of the server that has the objects.
    """
    with StrictServer(behind) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
