"""The routes of the server."""

import asyncio
import http
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from mnistctl import __version__
from mnistctl.errors import UsageError, shorten, unknown_name
from mnistctl.serving import inference, messages, openapi
from mnistctl.serving import metrics as metrics_module
from mnistctl.serving.dispatcher import Dispatcher, OverloadError
from mnistctl.serving.forms import ENCODINGS
from mnistctl.serving.gate import Gate
from mnistctl.serving.logs import Log
from mnistctl.serving.messages import Answer, InferJob, Job, ModelInfo, PageJob, PictureJob
from mnistctl.serving.metrics import Metrics
from mnistctl.settings.architectures import DIGIT

# The media types of a body that is one picture, besides image/*. "": none is given. The last one is
# what curl says of --data-binary.
_PICTURE_TYPES = (
    "",
    "application/octet-stream",
    "application/pdf",
    "application/x-www-form-urlencoded",
)
_FORM = "multipart/form-data"
_QUERY = ("model", "numbers", "top", "threshold")
_BOOLEANS = {"": True, "1": True, "true": True, "0": False, "false": False}
_MAX_TOP = 1000
_INTEGER = re.compile(r"[0-9]{1,9}\Z")
_DECIMAL = re.compile(r"[0-9]*\.?[0-9]+(e-?[0-9]{1,3})?\Z", re.ASCII | re.IGNORECASE)
_HEADER_LENGTH = "inference-header-content-length"
_RETRY_SECONDS = "1"
# A page of this server: nothing from elsewhere, and in no frame. Its own policy is in the page too.
_PAGE_HEADERS = {
    "content-security-policy": "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
    "cache-control": "no-cache",
}


class Service:
    """What the routes do.

    Args:
        dispatcher: answers jobs.
        metrics: of the server.
        build_page: returns the page for a model; called once per model.
        needs_token: whether clients have to show a token.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        metrics: Metrics,
        build_page: Callable[[PageJob], Coroutine[Any, Any, Answer]],
        *,
        needs_token: bool,
    ) -> None:
        self.is_draining = False
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._build_page = build_page
        self._needs_token = needs_token
        self._pages: dict[str, asyncio.Future[Answer]] = {}

    def routes(self) -> list[Route]:
        """All routes."""
        model = "/v2/models/{model}"
        version = model + "/versions/{version}"
        routes = [
            Route("/predict", self.predict, methods=["POST"]),
            Route("/", self.page, methods=["GET"]),
            Route("/metrics", self.show_metrics, methods=["GET"]),
            Route("/openapi.json", self.show_openapi, methods=["GET"]),
            Route("/v2", self.server_metadata, methods=["GET"]),
            Route("/v2/health/live", self.live, methods=["GET"]),
            Route("/v2/health/ready", self.ready, methods=["GET"]),
        ]
        for path in (model, version):
            routes += [
                Route(f"{path}/infer", self.infer, methods=["POST"]),
                Route(path, self.model_metadata, methods=["GET"]),
                Route(f"{path}/ready", self.model_ready, methods=["GET"]),
            ]
        return routes

    @property
    def _is_ready(self) -> bool:
        return self._dispatcher.is_ready and not self.is_draining

    def _require_ready(self) -> None:
        """Raises HTTPException if the server takes no requests."""
        if not self._is_ready:
            text = "the server is shutting down" if self.is_draining else "the server is starting"
            raise HTTPException(503, text, headers={"retry-after": _RETRY_SECONDS})

    def _require_models(self) -> None:
        """Raises HTTPException if the models are not open yet."""
        if not self._dispatcher.models:
            self._require_ready()

    async def live(self, request: Request) -> Response:
        """Whether the server runs."""
        return _json({"live": True})

    async def ready(self, request: Request) -> Response:
        """Whether the server takes requests."""
        return _json({"ready": self._is_ready}, 200 if self._is_ready else 503)

    async def server_metadata(self, request: Request) -> Response:
        """The name and version of the server."""
        extensions = ["binary_tensor_data"]
        return _json({"name": "mnistctl", "version": __version__, "extensions": extensions})

    async def model_metadata(self, request: Request) -> Response:
        """What a model takes and returns."""
        info = self._model(request.path_params)
        return _json(
            {
                "name": info.name,
                "versions": [inference.VERSION],
                "platform": info.platform,
                "inputs": info.inputs,
                "outputs": info.outputs,
                "parameters": {
                    "task": info.task,
                    "class_names": info.class_names,
                    "threshold": info.threshold,
                },
            }
        )

    async def model_ready(self, request: Request) -> Response:
        """Whether a model takes requests."""
        info = self._model(request.path_params)
        content = {"name": info.name, "ready": self._is_ready}
        return _json(content, 200 if self._is_ready else 503)

    async def show_metrics(self, request: Request) -> Response:
        """The metrics of the server, for Prometheus."""
        self._metrics.waiting.set(self._dispatcher.queue_length)
        self._metrics.in_flight.set(self._dispatcher.in_flight)
        return Response(self._metrics.text(), media_type=metrics_module.TYPE)

    async def show_openapi(self, request: Request) -> Response:
        """The description of these routes."""
        self._require_models()
        return _json(
            openapi.document(
                self._dispatcher.models, self._dispatcher.limits, needs_token=self._needs_token
            )
        )

    async def page(self, request: Request) -> Response:
        """The page that reads drawings."""
        self._require_ready()
        job = PageJob(self._default_model())
        page = self._pages.get(job.model)
        if page is None or (page.done() and page.result().status != 200):
            page = self._pages[job.model] = asyncio.ensure_future(self._build_page(job))
        answer = await asyncio.shield(page)
        if answer.status != 200:
            raise HTTPException(500, "the page cannot be built; the server's log says why")
        return Response(answer.body, headers=_PAGE_HEADERS, media_type=answer.content_type)

    async def predict(self, request: Request) -> Response:
        """Read the pictures in the body."""
        self._require_ready()
        options = self._picture_options(request.query_params.multi_items())
        content_type = request.headers.get("content-type", "")
        media_type = content_type.partition(";")[0].strip().lower()
        is_picture = media_type in _PICTURE_TYPES or media_type.startswith("image/")
        if not is_picture and media_type != _FORM:
            raise HTTPException(
                415,
                f"Content-Type {shorten(media_type)}: expected a picture (image/png, "
                f"application/octet-stream, ...) or {_FORM} with files",
            )

        def job(body: bytes, encoding: str) -> Job:
            return PictureJob(
                body=body, content_type=content_type, content_encoding=encoding, **options
            )

        answer = await self._ask(request, job)
        model = options["model"]
        self._metrics.record_digits(f"{model} numbers" if options["numbers"] else model, answer.digits)
        return _response(answer)

    async def infer(self, request: Request) -> Response:
        """Run a model on the tensors in the body."""
        self._require_ready()
        info = self._model(request.path_params)
        text = request.headers.get(_HEADER_LENGTH)
        if text is not None and not (text.isascii() and text.isdecimal() and len(text) < 16):
            raise HTTPException(400, f"{_HEADER_LENGTH}: {shorten(text)} is not a number of bytes")
        header_length = None if text is None else int(text)

        def job(body: bytes, encoding: str) -> Job:
            return InferJob(info.name, body, header_length, encoding)

        answer = await self._ask(request, job)
        self._metrics.record_digits(info.name, answer.digits)
        return _response(answer)

    async def _ask(self, request: Request, job: Callable[[bytes, str], Job]) -> Answer:
        """Receive the body and let a worker answer."""
        encoding = _encoding(request)
        limit = self._dispatcher.limits.max_body
        announced = request.headers.get("content-length", "0")
        if not (announced.isdecimal() and len(announced) < 16 and int(announced) <= limit):
            raise _too_large(limit)
        try:
            with self._dispatcher.room() as take:
                body = bytearray()
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limit:
                        raise _too_large(limit)
                    take(len(body))
                return await self._dispatcher.ask(job(bytes(body), encoding))
        except OverloadError:
            raise HTTPException(
                429, "too many requests at a time", headers={"retry-after": _RETRY_SECONDS}
            ) from None

    def _default_model(self) -> str:
        return next(info.name for info in self._dispatcher.models if info.task == DIGIT)

    def _model(self, parameters: Mapping[str, Any]) -> ModelInfo:
        """The model that a path names.

        Raises:
            HTTPException: it is not known.
        """
        self._require_models()
        infos = {info.name: info for info in self._dispatcher.models}
        name, version = parameters["model"], parameters.get("version", inference.VERSION)
        if name not in infos:
            raise HTTPException(404, str(unknown_name("model", name, infos)))
        if version != inference.VERSION:
            raise HTTPException(404, f"model '{name}' has version {inference.VERSION} only")
        return infos[name]

    def _picture_options(self, query: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """The options of `predict` in a query.

        Raises:
            HTTPException: one is unknown, given twice, or out of range.
        """
        values = dict(query)
        try:
            for name in values:
                if name not in _QUERY:
                    raise unknown_name("parameter", name, _QUERY)
            if len(values) < len(query):
                raise UsageError("a parameter is given twice")
            models = {info.name: info for info in self._dispatcher.models if info.task == DIGIT}
            model = values.get("model", self._default_model())
            if model not in models:
                raise unknown_name("model", model, models)
            numbers = _BOOLEANS.get(values.get("numbers", "false"))
            if numbers is None:
                raise UsageError("numbers: expected true or false")
            if numbers and models[model].class_names != self._digits():
                raise UsageError(f"numbers: model '{model}' does not read the digits 0 to 9")
            return {
                "model": model,
                "numbers": numbers,
                "top": _number(values, "top", int, 1, _MAX_TOP) or 3,
                "threshold": _number(values, "threshold", float, 0, 1),
            }
        except UsageError as error:
            raise HTTPException(422, str(error)) from None

    def _digits(self) -> list[str]:
        return next(info.class_names for info in self._dispatcher.models if info.task != DIGIT)


def build(
    service: Service,
    metrics: Metrics,
    log: Log,
    *,
    token: str | None,
    allowed_origins: Sequence[str],
) -> ASGIApp:
    """The ASGI application.

    Args:
        service: what the routes do.
        metrics: where requests are counted.
        log: where requests are logged.
        token: that requests have to show; None: none.
        allowed_origins: of pages elsewhere that may read answers; "*": of all.
    """
    handlers = {HTTPException: _show_error, ClientDisconnect: _show_nothing, Exception: _show_bug}
    routes = Starlette(routes=service.routes(), exception_handlers=handlers)  # type: ignore[arg-type]
    routes.router.redirect_slashes = False
    gate = Gate(routes, metrics=metrics, log=log, token=token, route_of=_route_of)
    if not allowed_origins:
        return gate
    headers = ["content-encoding", "content-type", "x-request-id", _HEADER_LENGTH]
    return CORSMiddleware(  # around the gate: a browser asks without a token whether it may ask
        gate,
        allow_origins=[*allowed_origins],
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", *headers],
        expose_headers=["retry-after", *headers],
    )


def _route_of(path: str) -> str | None:
    """The name of a path's route in metrics; paths that are not known share one."""
    if path.startswith("/v2/models/"):
        end = path.rpartition("/")[2]
        return f"/v2/models/{end}" if end in ("infer", "ready") else "/v2/models"
    known = ("/", "/predict", "/metrics", "/openapi.json", "/v2", "/v2/health/live", "/v2/health/ready")
    return path if path in known else None


def _number(
    values: Mapping[str, str], name: str, kind: type[int] | type[float], low: float, high: float
) -> Any:
    """A number in a query; None: it is not there."""
    text = values.get(name)
    if text is None:
        return None
    number = kind(text) if (_INTEGER if kind is int else _DECIMAL).match(text) else None
    if number is None or not low <= number <= high:
        what = "a whole number" if kind is int else "a number"
        raise UsageError(f"{name}: expected {what} from {low} to {high}")
    return number


def _encoding(request: Request) -> str:
    encoding = request.headers.get("content-encoding", "").lower()
    encoding = "" if encoding == "identity" else encoding
    if encoding and encoding not in ENCODINGS:
        raise HTTPException(
            415, f"Content-Encoding {shorten(encoding)}: expected one of {', '.join(ENCODINGS)}"
        )
    return encoding


def _too_large(limit: int) -> HTTPException:
    return HTTPException(413, f"the body has more than {limit:,} bytes")


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type=messages.JSON_TYPE)


def _response(answer: Answer) -> Response:
    headers = {}
    if answer.header_length is not None:
        headers[_HEADER_LENGTH] = str(answer.header_length)
    return Response(answer.body, answer.status, headers, answer.content_type)


async def _show_error(request: Request, error: HTTPException) -> Response:
    text = error.detail
    if text == http.HTTPStatus(error.status_code).phrase:  # of Starlette's router
        text = f"{request.method} {shorten(request.url.path)}: {text.lower()}; see /openapi.json"
    answer = messages.error(error.status_code, text)
    return Response(answer.body, answer.status, error.headers, answer.content_type)


async def _show_bug(request: Request, error: Exception) -> Response:
    return _response(messages.error(500, "the server has failed; its log says why"))


async def _show_nothing(request: Request, error: ClientDisconnect) -> Response:
    return Response(status_code=499)
