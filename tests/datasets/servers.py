"""A real HTTP server on this machine, with any misbehaviour that a test needs."""

import contextlib
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator

Behaviour = Callable[[socket.socket, str], None]  # the connection, and the requested path


class _Handler(socketserver.BaseRequestHandler):
    server: "_Server"

    def handle(self) -> None:
        connection: socket.socket = self.request
        connection.settimeout(20)
        with contextlib.suppress(OSError):  # the client has disconnected
            if self.server.tls is None:
                self._answer(connection)
                return
            with self.server.tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            ) as encrypted:
                encrypted.do_handshake()
                self._answer(encrypted)

    def _answer(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            chunk = connection.recv(4096)
            if not chunk:
                return
            request += chunk
        path = request.split(b" ")[1].decode()
        self.server.paths.append(path)
        self.server.behaviour(connection, path)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, behaviour: Behaviour, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behaviour, self.tls, self.paths = behaviour, tls, list[str]()
        scheme = "http" if tls is None else "https"
        self.address = f"{scheme}://localhost:{self.server_address[1]}/"


@contextlib.contextmanager
def serving(behaviour: Behaviour, *, tls: ssl.SSLContext | None = None) -> Iterator[_Server]:
    """Serve until the block ends. `address` is the base URL, `paths` are the requested paths."""
    with _Server(behaviour, tls) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def answer(body: bytes, *, status: str = "200 OK", length: str | None = "", headers: str = "") -> bytes:
    """An HTTP response. `length`: the Content-Length; "": the right one; None: no such header."""
    content_length = "" if length is None else f"Content-Length: {length or len(body)}\r\n"
    return f"HTTP/1.1 {status}\r\n{content_length}{headers}Connection: close\r\n\r\n".encode() + body
