"""One address's bytes, and no more than were expected, in no more than the time there is."""

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

STALL_TIMEOUT_S = 20.0  # between two pieces of a body
TRANSFER_TIMEOUT_S = 900.0  # for one whole body
MAX_REDIRECTS = 5
_CHUNK_BYTES = 1 << 16
_DOWNGRADE = "sent from https to http"

T = TypeVar("T")


def get(
    url: str,
    first_byte_timeout_s: float,
    *,
    limit: int,
    progress: Callable[[int, int | None], None],
) -> bytes:
    """Everything an address answers with.

    Raises:
        DataError: it does not answer in time, or with an error, or with more than `limit` bytes.
    """
    import requests
    import urllib3

    deadline = time.monotonic() + TRANSFER_TIMEOUT_S
    try:
        with _session() as session:
            response, first = _within(first_byte_timeout_s, lambda: _open(session, url))
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isascii() and length.isdigit() else None
            received = bytearray(first)
            with response:
                while piece := _read(response):
                    progress(len(received), total)
                    received += piece
                    if len(received) > limit:
                        raise DataError(f"more than the {limit:,} bytes expected at most")
                    if time.monotonic() > deadline:
                        raise DataError(f"not finished after {TRANSFER_TIMEOUT_S:.0f} s")
        progress(len(received), total)
        return bytes(received)
    except (TimeoutError, requests.Timeout) as error:
        raise DataError("no answer in time") from error
    except requests.HTTPError as error:
        refusal = error.response
        raise DataError(f"answered {refusal.status_code} {refusal.reason}") from error
    except requests.TooManyRedirects as error:
        raise DataError("sent elsewhere again and again") from error
    except (
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        http.client.HTTPException,
        OSError,
        ValueError,  # an address that is none
    ) as error:
        raise DataError(_reason(error)) from error


def _session() -> "requests.Session":
    """A session that never follows a redirect from https to http."""
    import requests

    class Session(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> str | None:
            target = super().get_redirect_target(resp)
            if target:
                resp.close()  # what it says besides is of no interest
            schemes = [urlsplit(url).scheme for url in (resp.url, urljoin(resp.url, target or ""))]
            if schemes == ["https", "http"]:
                raise requests.exceptions.InvalidURL(_DOWNGRADE)
            return target

    session = Session()
    session.max_redirects = MAX_REDIRECTS
    return session


def _open(session: "requests.Session", url: str) -> "tuple[requests.Response, bytes]":
    """The answer, and the first bytes of its body; none for an empty one."""
    response = session.get(
        url, stream=True, timeout=STALL_TIMEOUT_S, headers={"Accept-Encoding": "identity"}
    )
    try:
        response.raise_for_status()
        return response, _read(response)
    except BaseException:
        response.close()
        raise


def _read(response: "requests.Response") -> bytes:
    """What of the body is there by now, as it was sent: an archive is not unpacked on the way."""
    return bytes(response.raw.read1(_CHUNK_BYTES, decode_content=False))


def _within(timeout_s: float, call: Callable[[], T]) -> T:
    """What `call` returns or raises; TimeoutError when it takes longer.

    In a thread of its own, because looking up a name has no time-out that could be set.
    """
    answers: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((call(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        answer, error = answers.get(timeout=max(0.1, timeout_s))
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]


def _reason(error: BaseException) -> str:
    """The innermost cause of a failed request, in a few words."""
    text = str(error)
    for sign, reason in (
        ("NameResolutionError", "its name is not known here (no network?)"),
        (_DOWNGRADE, _DOWNGRADE),
        ("certificate", "its certificate is not trusted"),
        ("timed out", "no answer in time"),
        ("Failed to parse", "sent to an address that is none"),
        ("NewConnectionError", "no connection"),
        ("IncompleteRead", "broke off before the end"),
        ("Connection aborted", "broke off"),
        ("Connection reset", "broke off"),
    ):
        if sign.lower() in text.lower():
            return reason
    return f"failed ({type(error).__name__})"
