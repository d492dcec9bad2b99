"""Download one URL, with limits on its size and on the time that it takes."""

import http.client
import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urljoin, urlsplit

from mnistctl.errors import DataError

if TYPE_CHECKING:
    import requests

STALL_TIMEOUT_S = 20.0  # between two chunks of a body
TRANSFER_TIMEOUT_S = 900.0  # for one whole body
MAX_REDIRECTS = 5
_CHUNK_BYTES = 1 << 16

# A substring of the exception's text, and the message for the user. The first match counts. requests
# and urllib3 wrap the cause of a failure several times, and only the text is sure to contain it.
_MESSAGES = (
    ("NameResolutionError", "host not found"),
    ("certificate", "certificate not trusted"),
    ("timed out", "timed out"),
    ("NewConnectionError", "could not connect"),
    ("IncompleteRead", "connection lost before the end"),
    ("Connection aborted", "connection lost"),
    ("Connection reset", "connection lost"),
)

UNREACHABLE = {"host not found", "could not connect"}  # the messages of a machine without a network

T = TypeVar("T")


def get(
    url: str,
    first_byte_timeout_s: float,
    *,
    limit: int,
    progress: Callable[[int, int | None], None],
) -> bytes:
    """Download the body of a response.

    Args:
        url: http or https.
        first_byte_timeout_s: until the first byte of the body arrives.
        limit: the largest size of the body, in bytes.
        progress: called with the number of bytes received, and the total if the server announces it.

    Raises:
        DataError: the server cannot be reached, is too slow, answers with an error, or sends more
            than `limit` bytes.
    """
    import urllib3

    try:
        with _session() as session:
            response, start = _call_within(first_byte_timeout_s, lambda: _open(session, url))
            with response:
                return _read_body(response, start, limit=limit, progress=progress)
    # Every exception of requests is an OSError. An invalid URL is a ValueError.
    except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError) as error:
        raise DataError(_message(error)) from error


def _session() -> "requests.Session":
    """A session that rejects redirects from https to http."""
    import requests

    class Session(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> str | None:
            target = super().get_redirect_target(resp)
            if target:
                resp.close()  # the body of a redirect is not read
            schemes = [urlsplit(url).scheme for url in (resp.url, urljoin(resp.url, target or ""))]
            if schemes == ["https", "http"]:
                raise DataError("redirected from https to http")
            return target

    session = Session()
    session.max_redirects = MAX_REDIRECTS
    return session


def _open(session: "requests.Session", url: str) -> "tuple[requests.Response, bytes]":
    """The response, and the first bytes of its body; no bytes if the body is empty."""
    response = session.get(
        url, stream=True, timeout=STALL_TIMEOUT_S, headers={"Accept-Encoding": "identity"}
    )
    try:
        response.raise_for_status()
        return response, _read_chunk(response)
    except BaseException:
        response.close()
        raise


def _read_body(
    response: "requests.Response",
    start: bytes,
    *,
    limit: int,
    progress: Callable[[int, int | None], None],
) -> bytes:
    deadline = time.monotonic() + TRANSFER_TIMEOUT_S
    length = response.headers.get("Content-Length", "")
    total = int(length) if length.isascii() and length.isdigit() else None
    body = bytearray(start)
    while chunk := _read_chunk(response):
        progress(len(body), total)
        body += chunk
        if len(body) > limit:
            raise DataError(f"larger than the expected maximum of {limit:,} bytes")
        if time.monotonic() > deadline:
            raise DataError(f"not complete after {TRANSFER_TIMEOUT_S:.0f} s")
    progress(len(body), total)
    return bytes(body)


def _read_chunk(response: "requests.Response") -> bytes:
    """The bytes that have arrived, as they were sent: Content-Encoding is not decoded."""
    return bytes(response.raw.read1(_CHUNK_BYTES, decode_content=False))


def _call_within(timeout_s: float, call: Callable[[], T]) -> T:
    """Return or raise what `call` does; raise TimeoutError if it takes longer.

    The call runs in a thread, because a host name look-up has no timeout.
    """
    results: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((call(), None))
        except BaseException as error:
            results.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = results.get(timeout=max(0.1, timeout_s))
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def _message(error: BaseException) -> str:
    """Why a request failed, in a few words."""
    import requests

    if isinstance(error, requests.HTTPError):
        return f"HTTP {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.TooManyRedirects):
        return "too many redirects"
    if isinstance(error, TimeoutError | requests.Timeout):
        return "timed out"
    text = str(error).lower()
    for substring, message in _MESSAGES:
        if substring.lower() in text:
            return message
    return "invalid URL" if isinstance(error, ValueError) else f"failed ({type(error).__name__})"
