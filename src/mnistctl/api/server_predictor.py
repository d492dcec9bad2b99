"""Let a server read pictures: `predict --server URL`."""

import re
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
import numpy as np
import requests

from mnistctl.api import picture_requests
from mnistctl.api.picture_requests import Request
from mnistctl.api.picture_results import Detection, PictureResult
from mnistctl.errors import DataError, ModelError, PictureError, UsageError, one_line, shorten
from mnistctl.images.digit import Box
from mnistctl.models.predictor import Prediction, are_digits
from mnistctl.run import progress
from mnistctl.system import files
from mnistctl.types import IMAGE_SIZE

_BATCH_FILES = 32  # pictures in a request
_BATCH_NUMBERS = 4  # the same for numbers, which take longer
_AT_FAULT = (413, 422, 500)  # statuses of a request whose pictures cannot be read
_BATCH_BYTES = 4 << 20
_AT_ONCE = 2  # requests: the server reads one while the next one is sent
_TIMEOUT_S = (10, 120)  # to connect, and between two parts of an answer
_MAX_ERROR = 500  # characters of an error of the server
_PATIENCE_S = 60.0  # how long a busy server is asked again

T = TypeVar("T")


class _Upload(NamedTuple):
    """A file to send, or the reason why it is not sent."""

    pages: list[Request]  # of the file
    name: str  # in results
    content: bytes
    error: str | None


class _Model(msgspec.Struct):
    """What the server says about a model, as far as it is needed here."""

    class _Parameters(msgspec.Struct):
        class_names: list[str]

    name: str
    parameters: _Parameters


class _Info(msgspec.Struct):
    default_model: str = msgspec.field(name="x-default-model")


class _Document(msgspec.Struct):
    """The server's OpenAPI document, as far as it is needed here."""

    info: _Info


class _Digit(msgspec.Struct):
    """A digit in an answer; see `Detection.to_json`."""

    box: tuple[int, int, int, int]
    label: str
    probability: float
    top: list[dict[str, str | float]]
    familiarity: float
    reason: str | None
    word: int = 0


class _Line(msgspec.Struct):
    digits: list[_Digit]


class _Picture(msgspec.Struct):
    """A picture in an answer; see `PictureResult.to_json`."""

    file: str
    error: str | None = None
    lines: list[_Line] | None = None


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
        uploads = [
            [request for _, request in pages]
            for _, pages in groupby(enumerate(listed), key=_file_of)  # a file is sent with all pages
        ]
        for done, results in enumerate(self._read(uploads), 1):
            for result in results:
                if result.file not in skip:
                    yield replace(result, truth=find_label(result.file))
            progress.current().advance("reading", done, len(uploads))

    def _read(self, files_to_read: Sequence[list[Request]]) -> Iterator[list[PictureResult]]:
        """The results for each file."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            pending: deque[Future[list[list[PictureResult]]]] = deque()
            for batch in _batches(files_to_read, self._batch_files):
                pending.append(pool.submit(self._send, batch))
                if len(pending) > _AT_ONCE:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()

    @property
    def _batch_files(self) -> int:
        return _BATCH_NUMBERS if self.numbers else _BATCH_FILES

    def _send(self, batch: Sequence[_Upload]) -> list[list[PictureResult]]:
        sent = [upload for upload in batch if upload.error is None]
        if not sent:
            return [_failed(upload, upload.error) for upload in batch]
        parts = [("file", (str(number), upload.content)) for number, upload in enumerate(sent)]
        query: dict[str, str | int | float] = {"numbers": str(self.numbers).lower(), "top": self.top}
        query |= {} if self.model is None else {"model": self.model}
        query |= {} if self.threshold is None else {"threshold": self.threshold}
        response = _request("POST", f"{self.url}/predict", self.token, params=query, files=parts)
        if response.status_code == 200:
            answers = iter(_results(response, sent))
        elif response.status_code not in _AT_FAULT:
            raise _unusable(self.url, response)
        elif len(sent) > 1:  # find out which one is at fault
            return [results for upload in batch for results in self._send([upload])]
        else:
            reason = re.sub(r"^0(#page=\d+)?: ", "", _error_of(response))
            answers = iter([_failed(sent[0], f"{sent[0].name}: {reason}")])
        return [
            next(answers) if upload.error is None else _failed(upload, upload.error) for upload in batch
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
    if threshold is not None and not 0 <= threshold <= 1:
        raise UsageError(f"--threshold {threshold}: expected a value between 0 and 1")
    url = (url if "://" in url else f"http://{url}").rstrip("/")
    if not _is_http(url):
        raise UsageError(f"--server {shorten(url)}: expected an address such as http://localhost:8000")
    token = files.read_text(token_file, DataError).strip() if token_file else None
    name = model
    if name is None:
        response = _request("GET", f"{url}/openapi.json", token)
        name = _decode(url, response, _Document).info.default_model
    response = _request("GET", f"{url}/v2/models/{quote(name, safe='')}", token)
    if response.status_code == 404 and model is not None:
        raise ModelError(f"{url}: {_error_of(response)}")
    class_names = _decode(url, response, _Model).parameters.class_names
    if numbers and not are_digits(class_names):
        raise UsageError(f"--model {name}: --numbers needs a model of the digits 0 to 9")
    top = min(top, len(class_names))
    return ServerPredictor(url, model, numbers, top, threshold, token, tuple(class_names))


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def _file_of(numbered: tuple[int, Request]) -> tuple[str, int | None]:
    """What the pages of one file have in common; every other picture has a key of its own."""
    number, request = numbered
    if request.page is None:
        return request.file, number
    return request.file.rpartition("#page=")[0], None


def _batches(listed: Sequence[list[Request]], max_files: int) -> Iterator[list[_Upload]]:
    batch: list[_Upload] = []
    size = 0
    for pages in listed:
        upload = _read_file(pages)
        if batch and (len(batch) == max_files or size + len(upload.content) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(upload)
        size += len(upload.content)
    if batch:
        yield batch


def _read_file(pages: list[Request]) -> _Upload:
    first = pages[0]
    name = first.file if first.page is None else first.file.rpartition("#page=")[0]
    content, error = b"", first.error
    if error is None:
        try:
            source = first.source
            content = source if isinstance(source, bytes) else files.read_bytes(source, PictureError)
        except PictureError as problem:
            error = str(problem)
    return _Upload(pages, name, content, error)


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


def _decode(url: str, response: requests.Response, kind: type[T]) -> T:
    """The content of an answer.

    Raises:
        DataError: the answer is an error, or not that of mnistctl.
    """
    if response.status_code != 200:
        raise _unusable(url, response)
    try:
        return msgspec.json.decode(response.content, type=kind)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{url}: not a server of mnistctl") from error


def _error_of(response: requests.Response) -> str:
    try:
        return str(response.json()["error"])[:_MAX_ERROR]
    except (ValueError, KeyError, TypeError):
        return f"the server answers {response.status_code}"


def _unusable(url: str, response: requests.Response) -> DataError:
    if response.status_code == 401:
        return DataError(f"{url}: the server needs a token; name its file: --token-file FILE")
    return DataError(f"{url}: {_error_of(response)}")


def _failed(upload: _Upload, error: str | None) -> list[PictureResult]:
    return [PictureResult(page.file, error=error, place=page.place) for page in upload.pages]


def _results(response: requests.Response, sent: Sequence[_Upload]) -> list[list[PictureResult]]:
    """The results for each file that was sent.

    Raises:
        DataError: the answer is not that of mnistctl.
    """
    answers: list[list[PictureResult]] = [[] for _ in sent]
    problem = DataError(f"{response.url.partition('?')[0]}: not an answer of mnistctl")
    try:
        items = msgspec.json.decode(response.content, type=list[msgspec.Raw])
        for item in items:
            picture = msgspec.json.decode(item, type=_Picture)
            number = picture.file.partition("#page=")[0]
            upload, results = sent[int(number)], answers[int(number)]
            page = upload.pages[0]
            file = upload.name + picture.file.removeprefix(number)
            results.append(_result(picture, item, file, page.place))
    except (ValueError, IndexError, RecursionError) as error:
        raise problem from error
    if not all(answers):
        raise problem
    return answers


def _result(picture: _Picture, item: msgspec.Raw, file: str, place: Path) -> PictureResult:
    if picture.error is not None:
        reason = picture.error.removeprefix(f"{picture.file}: ")
        return PictureResult(file, error=f"{file}: {reason}", place=place)
    if picture.lines is None:
        digit = msgspec.json.decode(item, type=_Digit)
        return PictureResult(file, (_detection(digit, 0),), place=place)
    digits = tuple(
        _detection(digit, number) for number, line in enumerate(picture.lines) for digit in line.digits
    )
    return PictureResult(file, digits, has_numbers=True, place=place)


def _detection(digit: _Digit, line: int) -> Detection:
    top = tuple((str(item["label"]), float(item["probability"])) for item in digit.top)
    prediction = Prediction(digit.label, digit.probability, top, digit.familiarity, digit.reason)
    image = np.zeros((IMAGE_SIZE, IMAGE_SIZE), dtype=np.uint8)  # the server keeps it
    probabilities = np.zeros(0, dtype=np.float32)
    return Detection(Box(*digit.box), line, digit.word, image, prediction, probabilities)
