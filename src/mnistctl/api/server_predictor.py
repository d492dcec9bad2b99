"""Let a server read pictures: `predict --server URL`."""

import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import numpy as np
import requests

from mnistctl.api import picture_requests
from mnistctl.api.picture_requests import Request
from mnistctl.api.picture_results import Detection, PictureResult
from mnistctl.errors import DataError, ModelError, PictureError, UsageError, one_line, shorten
from mnistctl.images.digit import Box
from mnistctl.models.predictor import Prediction
from mnistctl.run import progress
from mnistctl.system import files
from mnistctl.types import IMAGE_SIZE

_BATCH_FILES = 32  # pictures in a request
_BATCH_BYTES = 4 << 20
_AT_ONCE = 2  # requests: the server reads one while the next one is sent
_TIMEOUT_S = (10, 120)  # to connect, and between two parts of an answer
_PATIENCE_S = 60.0  # how long a busy server is asked again


class _Upload(NamedTuple):
    """A file to send, or the reason why it is not sent."""

    request: Request  # of its first page
    name: str  # in results
    content: bytes
    error: str | None


@dataclass(frozen=True)
class ServerPredictor:
    """A server that reads pictures. See `open_server`."""

    url: str  # without a slash at the end
    model: str | None  # its name on the server; None: the server's default
    numbers: bool
    top: int
    threshold: float | None
    token: str | None
    class_names: tuple[str, ...]

    def read(
        self,
        pictures: Sequence[str | Path],
        *,
        recursive: bool = False,
        labels: Path | None = None,
        labels_from_names: bool = False,
        skip: Collection[str] = (),
    ) -> Iterator[PictureResult]:
        """Yield a result for each picture, in the given order; see `predict.PicturePredictor.read`.

        Raises:
            DataError: the server cannot be reached, or gives no answer that can be used.
        """
        listed = picture_requests.list_requests(pictures, recursive=recursive, skip=skip)
        find_label = picture_requests.label_finder(
            labels,
            self.class_names,
            labels_from_names=labels_from_names,
            numbers=self.numbers,
        )
        # A file is sent whole, for all its pages.
        names = [None, *map(_file_name, listed)]
        uploads = [
            request
            for request, previous in zip(listed, names, strict=False)
            if request.page is None or _file_name(request) != previous
        ]
        for done, results in enumerate(self._read(uploads), 1):
            for result in results:
                if result.file not in skip:
                    yield replace(result, truth=find_label(result.file))
            progress.current().advance("reading", done, len(uploads))

    def _read(self, listed: Sequence[Request]) -> Iterator[list[PictureResult]]:
        """The results for each file."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            pending: deque[Future[list[list[PictureResult]]]] = deque()
            for batch in _batches(listed):
                pending.append(pool.submit(self._send, batch))
                if len(pending) > _AT_ONCE:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()

    def _send(self, batch: Sequence[_Upload]) -> list[list[PictureResult]]:
        sent = [upload for upload in batch if upload.error is None]
        if not sent:
            return [[_failed(upload, upload.error)] for upload in batch]
        parts = [("file", (str(number), upload.content)) for number, upload in enumerate(sent)]
        query: dict[str, str | int | float] = {"numbers": str(self.numbers).lower(), "top": self.top}
        query |= {} if self.model is None else {"model": self.model}
        query |= {} if self.threshold is None else {"threshold": self.threshold}
        response = _request("POST", f"{self.url}/predict", self.token, params=query, files=parts)
        if response.status_code in (413, 422) and len(sent) > 1:  # find out which one is at fault
            return [results for upload in batch for results in self._send([upload])]
        if response.status_code in (413, 422, 500):
            reason = _error_of(response).removeprefix("0: ")
            answers = {0: [_failed(sent[0], f"{sent[0].name}: {reason}")]}
            if response.status_code == 500:
                answers = {
                    number: [_failed(upload, f"{upload.name}: {reason}")]
                    for number, upload in enumerate(sent)
                }
        elif response.status_code == 200:
            answers = _results(response, sent)
        else:
            raise _unusable(self.url, response)
        numbered = iter(range(len(sent)))
        return [
            answers[next(numbered)] if upload.error is None else [_failed(upload, upload.error)]
            for upload in batch
        ]


def open_server(
    url: str,
    *,
    model: str | None = None,
    numbers: bool = False,
    top: int = 3,
    threshold: float | None = None,
    token_file: Path | None = None,
) -> ServerPredictor:
    """Connect to a server of `mnistctl serve`.

    Args:
        url: the address of the server, such as http://localhost:8000.
        model: the name of a model on the server; None: its default.
        numbers: see `predict.predict`.
        top: see `predict.predict`.
        threshold: see `predict.predict`.
        token_file: a file with the token that the server asks for.

    Raises:
        UsageError: a value is out of range.
        DataError: the token's file cannot be read, the server cannot be reached, or it needs a token.
        ModelError: the server has no such model.
    """
    if top < 1:
        raise UsageError(f"--top {top}: expected 1 or more")
    url = (url if "://" in url else f"http://{url}").rstrip("/")
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise UsageError(f"--server {shorten(url)}: expected an address such as http://localhost:8000")
    token = files.read_text(token_file, DataError).strip() if token_file else None
    name = model
    if name is None:
        document = _json(url, _request("GET", f"{url}/openapi.json", token))
        name = document.get("info", {}).get("x-default-model")
    response = _request("GET", f"{url}/v2/models/{quote(str(name), safe='')}", token)
    if response.status_code == 404 and model is not None:
        raise ModelError(f"{url}: {_error_of(response)}")
    class_names = _json(url, response).get("parameters", {}).get("class_names")
    if not isinstance(class_names, list):
        raise DataError(f"{url}: not a server of mnistctl")
    top = min(top, len(class_names))
    return ServerPredictor(url, model, numbers, top, threshold, token, tuple(class_names))


def _batches(listed: Sequence[Request]) -> Iterator[list[_Upload]]:
    batch: list[_Upload] = []
    size = 0
    for request in listed:
        upload = _read_file(request)
        if batch and (len(batch) == _BATCH_FILES or size + len(upload.content) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(upload)
        size += len(upload.content)
    if batch:
        yield batch


def _read_file(request: Request) -> _Upload:
    content, error = b"", request.error
    if error is None:
        try:
            source = request.source
            content = source if isinstance(source, bytes) else files.read_bytes(source, PictureError)
        except PictureError as problem:
            error = str(problem)
    return _Upload(request, _file_name(request), content, error)


def _file_name(request: Request) -> str:
    """The name of a picture's file, without its page."""
    return request.file if request.page is None else request.file.rpartition("#page=")[0]


def _request(method: str, url: str, token: str | None, **arguments: Any) -> requests.Response:
    """Send a request; a busy server is asked again for a while.

    Raises:
        DataError: the server cannot be reached.
    """
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    end = time.monotonic() + _PATIENCE_S
    while True:
        try:
            response = requests.request(
                method, url, headers=headers, timeout=_TIMEOUT_S, allow_redirects=False, **arguments
            )
        except (requests.RequestException, ValueError) as error:  # ValueError: of a strange address
            raise DataError(f"{url}: the server does not answer ({one_line(error)})") from error
        if response.status_code not in (429, 503) or time.monotonic() > end:
            return response
        wait = response.headers.get("retry-after", "1")
        time.sleep(min(int(wait), 10) if wait.isdecimal() else 1)


def _json(url: str, response: requests.Response) -> dict[str, Any]:
    if response.status_code != 200:
        raise _unusable(url, response)
    try:
        content = response.json()
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise DataError(f"{url}: not a server of mnistctl")
    return content


def _error_of(response: requests.Response) -> str:
    try:
        return shorten(str(response.json()["error"]))
    except (ValueError, KeyError, TypeError):
        return f"the server answers {response.status_code}"


def _unusable(url: str, response: requests.Response) -> DataError:
    if response.status_code == 401:
        return DataError(f"{url}: the server needs a token; name its file: --token-file FILE")
    return DataError(f"{url}: {_error_of(response)}")


def _failed(upload: _Upload, error: str | None) -> PictureResult:
    return PictureResult(upload.request.file, error=error, place=upload.request.place)


def _results(response: requests.Response, sent: Sequence[_Upload]) -> dict[int, list[PictureResult]]:
    """The results for each file that was sent.

    Raises:
        DataError: the answer is not that of mnistctl.
    """
    answers: dict[int, list[PictureResult]] = {number: [] for number in range(len(sent))}
    try:
        for values in response.json():
            number, separator, page = str(values["file"]).partition("#page=")
            upload = sent[int(number)]
            answers[int(number)].append(_result(values, upload, f"{upload.name}{separator}{page}"))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{response.url}: not an answer of mnistctl ({one_line(error)})") from error
    return answers


def _result(values: dict[str, Any], upload: _Upload, file: str) -> PictureResult:
    place = upload.request.place
    if "error" in values:
        reason = values["error"].partition(": ")[2]
        return PictureResult(file, error=f"{file}: {reason}", place=place)
    if "lines" not in values:
        return PictureResult(file, (_detection(values, 0),), place=place)
    digits = tuple(
        _detection(digit, number)
        for number, line in enumerate(values["lines"])
        for digit in line["digits"]
    )
    return PictureResult(file, digits, has_numbers=True, place=place)


def _detection(values: dict[str, Any], line: int) -> Detection:
    top = tuple((str(item["label"]), float(item["probability"])) for item in values["top"])
    label, probability = str(values["label"]), float(values["probability"])
    prediction = Prediction(label, probability, top, float(values["familiarity"]), values["reason"])
    image = np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)  # the server keeps it
    return Detection(
        Box(*values["box"]), line, values.get("word", 0), image, prediction, np.zeros(0, np.float32)
    )
