"""A web server on this machine whose connections can be cut, for tests of downloads."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server:
    """What the server has and does; a test changes it between requests.

    Attributes
    ----------
    files : dict of str to bytes
        Content by path.
    etag : str or None
        Sent with every file.
    knows_ranges, sends_size : bool
        Whether ranges are answered as such, and whether sizes are sent.
    cuts : list of int
        The next answers with content are cut after so many bytes, one entry an answer.
    status : int
        Other than 200, the answer to everything.
    requests : list of str
        Method, path and range of every request.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.files: dict[str, bytes] = {}
        self.etag: str | None = '"1"'
        self.knows_ranges = self.sends_size = True
        self.cuts: list[int] = []
        self.status = 200
        self.requests: list[str] = []

    @property
    def gets(self) -> list[str]:
        return [request for request in self.requests if request.startswith("GET")]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def _answer(self, *, with_content: bool) -> None:
        state: Server = self.server.state
        path, asked = self.path.partition("?")[0], self.headers.get("Range", "")
        state.requests.append(f"{self.command} {path} {asked}".strip())
        content = state.files.get(path)
        if state.status != 200 or content is None:
            self.send_response(404 if content is None else state.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        size = len(content)
        is_range = bool(asked) and state.knows_ranges
        if is_range:
            first, last = asked.removeprefix("bytes=").split("-")
            content = content[int(first) : int(last) + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(content) - 1}/{size}")
        else:
            self.send_response(200)
        if state.etag:
            self.send_header("ETag", state.etag)
        if state.sends_size:
            self.send_header("Content-Length", str(len(content)))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if with_content:
            cut = state.cuts.pop(0) if state.cuts else len(content)
            self.wfile.write(content[:cut])
        if not state.sends_size or (with_content and cut < len(content)):
            self.wfile.flush()
            self.close_connection = True


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    state: Server

    def handle_error(self, *_: object) -> None:
        """Print nothing of connections that the client closes."""


@contextmanager
def serving() -> Iterator[Server]:
    """Run the server for as long as the block lasts."""
    http = _Http(("127.0.0.1", 0), _Handler)
    http.state = Server(http.server_port)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield http.state
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
