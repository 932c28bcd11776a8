"""A local web server with range requests, which can also interrupt a response."""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves `files` by path."""

    daemon_threads = True

    def __init__(self, files: Mapping[str, bytes], *, most_bytes: int | None, knows_ranges: bool) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files, self.most_bytes, self.knows_ranges = files, most_bytes, knows_ranges
        self.asked: list[tuple[str, str]] = []
        """Path and Range header of each request."""

    def url(self, path: str) -> str:
        """Returns the URL of a file."""
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path, wanted = self.path.lstrip("/"), self.headers.get("Range", "")
        self.server.asked.append((path, wanted))
        if path not in self.server.files:
            self.send_error(404)
            return
        content = self.server.files[path]
        ranged = re.fullmatch(r"bytes=(\d+)-", wanted) if self.server.knows_ranges else None
        start = int(ranged[1]) if ranged else 0
        if ranged and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if ranged else 200)
        if ranged:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = len(content) if self.server.most_bytes is None else start + self.server.most_bytes
        self.wfile.write(content[start:end])  # the connection then ends, even if the header announced more

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Suppresses the log."""


@contextmanager
def serving(files: Mapping[str, bytes], *, most_bytes: int | None = None, knows_ranges: bool = True) -> Iterator[Server]:
    """Runs a server while the context is open.

    Args:
        most_bytes: maximum number of bytes of a response, after which the connection ends.
        knows_ranges: whether the server supports the Range header.
    """
    with Server(files, most_bytes=most_bytes, knows_ranges=knows_ranges) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
