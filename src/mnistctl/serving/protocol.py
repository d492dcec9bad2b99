"""HTTP for clients that nobody can trust: limits of time and size that uvicorn does not have."""

import asyncio
import http
from collections.abc import Callable
from typing import Any, Literal

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MAX_HEADER_BYTES = 64 << 10  # also of the trailers after a body in chunks
_MAX_HEADERS = 100
_MAX_UNSENT = 64 << 20  # bytes of answers that slow clients have not taken yet

# Connections on which no request is being answered, the oldest first: the first one to close.
_receiving: dict["GuardedProtocol", None] = {}
# Connections whose answer the client has not taken yet, the oldest first.
_sending: dict["GuardedProtocol", None] = {}


class GuardedProtocol(HttpToolsProtocol):
    """HTTP/1.1 with time limits for slow clients, and limits of headers and connections.

    - A request has to arrive within `timeout_s` from the start of the connection or the last answer.
    - A client that does not take an answer within `timeout_s` is disconnected.
    - If `max_connections` are open, a new one takes the place of the one that has waited longest for a
      complete request.

    If its client has gone, the application finds `scope["state"]["is_gone"]` set, and the task that it
    has put into `scope["state"]["task"]` is cancelled.
    """

    timeout_s = 30.0
    max_connections = 2048
    on_refusal: Callable[[int], None] = staticmethod(lambda status: None)  # called with a status

    _parsing: Literal["nothing", "headers", "body"] = "nothing"
    _header_bytes = 0  # received since the last byte of a body
    _problem = http.HTTPStatus.BAD_REQUEST
    _running: Any = None  # the request that the application is answering
    _request_timer: asyncio.TimerHandle | None = None
    _answer_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=1, low=0)  # `resume_writing` means: all has been taken
        if len(self.connections) > self.max_connections:
            oldest = next(iter(_receiving), self)
            oldest._stop_request_timer()
            oldest.transport.abort()
        if not transport.is_closing():
            self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """A client has disconnected. A request whose answer it waits for is dropped."""
        self._stop_request_timer()
        self._stop_answer_timer()
        super().connection_lost(exc)
        running = self._running
        if running is not None and not running.response_complete:
            running.disconnected = True
            state = running.scope["state"]
            state["is_gone"] = True
            if task := state.get("task"):
                task.cancel()

    def data_received(self, data: bytes) -> None:
        """Parse what a client sends."""
        self._header_bytes += len(data)
        super().data_received(data)
        if self._parsing == "nothing":
            self._header_bytes = 0
        elif self._header_bytes > _MAX_HEADER_BYTES + len(data) and not self.transport.is_closing():
            self._refuse(http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._parsing = "headers"

    def on_header(self, name: bytes, value: bytes) -> None:
        """Another header has arrived."""
        super().on_header(name, value)
        if len(self.headers) > _MAX_HEADERS:
            self._problem = http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise httptools.HttpParserCallbackError(self._problem.phrase)

    def on_headers_complete(self) -> None:
        """All headers have arrived."""
        self._parsing = "body"
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body has arrived."""
        super().on_body(body)
        self._header_bytes = 0

    def on_message_complete(self) -> None:
        """A request has arrived. If it was answered before that, the next one may come."""
        super().on_message_complete()
        self._parsing = "nothing"
        if self.cycle is not None and self.cycle.response_complete:
            self._expect_request()
        else:
            self._stop_request_timer()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is not HTTP."""
        self._refuse(self._problem)

    def on_response_complete(self) -> None:
        """An answer was handed to the operating system, or waits for a slow client."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._start_answer_timer()
        elif self._parsing != "nothing" or self._running.response_complete:  # no other one waits
            self._expect_request()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing has happened since the last answer. The client may still be taking it."""
        if not self.transport.get_write_buffer_size():
            super().timeout_keep_alive_handler()

    def pause_writing(self) -> None:
        """A client takes an answer more slowly than it is sent."""
        super().pause_writing()
        self._start_answer_timer()
        _sending[self] = None
        if sum(client.transport.get_write_buffer_size() for client in _sending) > _MAX_UNSENT:
            next(iter(_sending)).transport.abort()

    def resume_writing(self) -> None:
        """A client has taken its answer."""
        super().resume_writing()
        self._stop_answer_timer()
        if self._running is not None and self._running.response_complete:
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _expect_request(self) -> None:
        self._stop_request_timer()
        self._request_timer = self.loop.call_later(self.timeout_s, self._on_late_request)
        _receiving[self] = None

    def _stop_request_timer(self) -> None:
        _receiving.pop(self, None)
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _on_late_request(self) -> None:
        if self._parsing == "body" and self.cycle.response_started:
            self.transport.close()
            self._start_answer_timer()
        else:
            self._refuse(http.HTTPStatus.REQUEST_TIMEOUT)

    def _refuse(self, status: http.HTTPStatus) -> None:
        """Answer a request that does not reach the application, and disconnect."""
        content = msgspec.json.encode({"error": f"HTTP: {status.phrase}"})
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + content)
        self.transport.close()
        self._start_answer_timer()
        type(self).on_refusal(status.value)

    def _start_answer_timer(self) -> None:
        if self._answer_timer is None:
            self._answer_timer = self.loop.call_later(self.timeout_s, self.transport.abort)

    def _stop_answer_timer(self) -> None:
        _sending.pop(self, None)
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None
