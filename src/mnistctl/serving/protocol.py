"""HTTP for clients that nobody can trust: limits of time and size that uvicorn does not have."""

import asyncio
import http
from typing import Literal

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MAX_HEADER_BYTES = 64 << 10
_MAX_HEADERS = 100

# Connections that a request is expected from, the oldest first. If there are too many, that one goes.
_receiving: dict["GuardedProtocol", None] = {}


class GuardedProtocol(HttpToolsProtocol):
    """HTTP/1.1 with time limits for slow clients, and limits of headers and connections.

    - The first request of a connection has to arrive within `timeout_s` from the connection's start,
      and every other one within that time from its first byte.
    - A client that does not take an answer within `timeout_s` is disconnected.
    - If `max_connections` are open, a new one takes the place of the one that has waited longest for a
      complete request.

    If its client has gone, the application finds `scope["state"]["is_gone"]` set, and the task that it
    has put into `scope["state"]["task"]` is cancelled.
    """

    timeout_s = 30.0
    max_connections = 2048

    _part: Literal["none", "headers", "body"] = "none"  # of a request that is arriving
    _header_bytes = 0
    _problem = http.HTTPStatus.BAD_REQUEST
    _request_timer: asyncio.TimerHandle | None = None
    _answer_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections and _receiving:
            next(iter(_receiving)).transport.abort()
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """A client has disconnected. A request whose answer it waits for is dropped."""
        self._stop_request_timer()
        self._stop_answer_timer()
        is_waiting = self.cycle is not None and not self.cycle.response_complete
        super().connection_lost(exc)
        state = self.scope["state"] if is_waiting else {}
        state["is_gone"] = True
        if task := state.get("task"):
            task.cancel()

    def data_received(self, data: bytes) -> None:
        """Parse what a client sends."""
        is_answering = self.cycle is not None and not self.cycle.response_complete
        if self._request_timer is None and not is_answering:
            self._expect_request()
        super().data_received(data)
        if self._part == "headers":
            self._header_bytes += len(data)
            if self._header_bytes > _MAX_HEADER_BYTES and not self.transport.is_closing():
                self._refuse(http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._part, self._header_bytes = "headers", 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Another header has arrived."""
        super().on_header(name, value)
        if len(self.headers) > _MAX_HEADERS:
            self._problem = http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise httptools.HttpParserCallbackError(self._problem.phrase)

    def on_headers_complete(self) -> None:
        """All headers have arrived."""
        self._part = "body"
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request has arrived. If it was answered before that, the next one may come."""
        super().on_message_complete()
        self._part = "none"
        self._stop_request_timer()
        if self.cycle is not None and self.cycle.response_complete:
            self._expect_request()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is not HTTP."""
        self._refuse(self._problem)

    def on_response_complete(self) -> None:
        """An answer was handed to the operating system, or waits for a slow client."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._start_answer_timer()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing has happened since the last answer."""
        if self.transport.get_write_buffer_size():
            self._start_answer_timer()
        else:
            super().timeout_keep_alive_handler()

    def pause_writing(self) -> None:
        """A client takes an answer more slowly than it is sent."""
        super().pause_writing()
        self._start_answer_timer()

    def resume_writing(self) -> None:
        """A client has taken most of an answer."""
        super().resume_writing()
        self._stop_answer_timer()

    def _expect_request(self) -> None:
        self._stop_request_timer()
        self._request_timer = self.loop.call_later(self.timeout_s, self._request_is_late)
        _receiving[self] = None

    def _stop_request_timer(self) -> None:
        _receiving.pop(self, None)
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _request_is_late(self) -> None:
        if self._part == "body" and self.cycle.response_started:
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

    def _start_answer_timer(self) -> None:
        if self._answer_timer is None:
            self._answer_timer = self.loop.call_later(self.timeout_s, self.transport.abort)

    def _stop_answer_timer(self) -> None:
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None
