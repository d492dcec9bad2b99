"""What happens to every request before and after the application: identity, token, metrics, log."""

import asyncio
import hmac
import re
import secrets
import time
from collections.abc import Callable

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mnistctl.serving import messages
from mnistctl.serving.logs import Log, RequestRecord
from mnistctl.serving.metrics import Metrics

OPEN_PATHS = ("/v2/health/live", "/v2/health/ready")  # for probes, which have no token

_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}\Z")
_OTHER = "other"  # the route of a path that is not known
_HUNG_UP = 499  # in the log: the client has gone before its answer


class Gate:
    """ASGI middleware around the application.

    Args:
        app: the application.
        metrics: where requests are counted.
        log: where requests are logged.
        token: that requests have to show; None: none.
        route_of: the name of a path's route, for metrics; None: it is not known.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        log: Log,
        token: str | None,
        route_of: Callable[[str], str | None],
    ) -> None:
        self._app = app
        self._metrics = metrics
        self._log = log
        self._authorization = None if token is None else f"Bearer {token}".encode()
        self._route_of = route_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        headers = dict(scope["headers"])
        request_id = headers.get(b"x-request-id", b"")
        if not _REQUEST_ID.match(request_id):
            request_id = secrets.token_hex(8).encode()
        status = _HUNG_UP

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    (b"x-request-id", request_id),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        scope["state"]["task"] = asyncio.current_task()
        try:
            if self._is_allowed(scope["path"], headers.get(b"authorization", b"")):
                await self._app(scope, receive, send_with_id)
            else:
                await _refuse(send_with_id)
        except asyncio.CancelledError:
            if not scope["state"].get("is_gone"):  # the server stops
                await send_error(send_with_id, 503, "the server is shutting down")
        finally:
            seconds = time.perf_counter() - start
            route = self._route_of(scope["path"]) or _OTHER
            self._metrics.requests.labels(route, status).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            if scope["path"] not in OPEN_PATHS:  # probes come every few seconds
                client = scope["client"][0] if scope["client"] else ""
                self._log.request(
                    RequestRecord(
                        request_id.decode(),
                        client,
                        scope["method"],
                        scope["path"],
                        status,
                        round(seconds, 6),
                    )
                )

    def _is_allowed(self, path: str, authorization: bytes) -> bool:
        if self._authorization is None or path in OPEN_PATHS:
            return True
        return hmac.compare_digest(authorization, self._authorization)


async def send_error(send: Send, status: int, text: str, *headers: tuple[bytes, bytes]) -> None:
    """Answer with one line about a problem."""
    body = msgspec.json.encode({"error": text})
    start_headers = [
        (b"content-type", messages.JSON_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": start_headers})
    await send({"type": "http.response.body", "body": body})


async def _refuse(send: Send) -> None:
    text = "a token is needed: send the header 'Authorization: Bearer TOKEN'"
    await send_error(send, 401, text, (b"www-authenticate", b"Bearer"))
