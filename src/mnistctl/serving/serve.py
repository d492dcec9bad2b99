"""The `serve` command: read pictures and run models over HTTP."""

import asyncio
import contextlib
import errno
import gc
import ipaddress
import logging
import os
import re
import signal
import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mnistctl.api import models
from mnistctl.errors import DataError, LostProcessError, MissingExtraError, MnistctlError, UsageError
from mnistctl.models import formats
from mnistctl.serving.options import ServeOptions
from mnistctl.settings.architectures import NUMBERS
from mnistctl.system import files

try:
    import uvicorn

    from mnistctl.serving import app, logs, messages
    from mnistctl.serving.dispatcher import Dispatcher
    from mnistctl.serving.logs import RequestRecord
    from mnistctl.serving.messages import Answer, PageJob, ServedModel, Setup
    from mnistctl.serving.metrics import Metrics
    from mnistctl.serving.protocol import GuardedProtocol
except ImportError as error:
    raise MissingExtraError(
        "the server is not installed; get it with: pip install 'mnistctl[serve]'"
    ) from error

_log = logging.getLogger(__name__)

_NAME = re.compile(r"[\w.-]{1,100}\Z")  # of a model, in a path
_BACKLOG = 2048  # connections that the system accepts before the server does
_RESERVED_FILES = 128  # open files that are no connections
_CLOSE_SECONDS = 1  # for connections, after the last answer
_INTERRUPTED = 128 + signal.SIGINT
_MIN_TOKEN = 16  # characters


def serve(
    model: str | Path | Sequence[str | Path] | None = None,
    *,
    numbers_model: str | Path | None = None,
    arch: str | None = None,
    options: ServeOptions | None = None,
) -> None:
    """Serve models over HTTP until SIGTERM or Ctrl-C.

    Args:
        model: one model or several; see `models.find_model`. NAME=MODEL gives a model another name. The
            first one is the default.
        numbers_model: the detector that finds the digits of numbers; see `models.find_model`.
        arch: FILE.py:CLASS, for models of a custom architecture.
        options: see `ServeOptions`.

    Raises:
        UsageError: an option is out of range, or two models have the same name.
        DataError: a file with a token or a certificate cannot be read.
        ModelError: a model is not found, or cannot be opened.
        MnistctlError: the address is not free, or not every request was answered within `grace`.
    """
    options = options or ServeOptions()
    limits = options.limits
    token = _read_token(options.token_file) if options.token_file else None
    _check_tls(options)
    with logs.to_stderr(options.log_format, quiet=options.quiet) as log:
        setup = Setup(
            _find_models(model, arch),
            _find_numbers_model(numbers_model),
            limits.max_body,
        )
        _check_names(setup)
        with _listen(options) as listener:
            server = _Server(options, setup, listener, log=log, token=token)
            asyncio.run(server.run())


class _Server(uvicorn.Server):
    """The server: uvicorn, whose signals and end are those of `run`."""

    def __init__(
        self,
        options: ServeOptions,
        setup: Setup,
        listener: socket.socket,
        *,
        log: logs.Log,
        token: str | None,
    ) -> None:
        self._options = options
        self._setup = setup
        self._limits = limits = options.limits
        self._listener = listener
        metrics = Metrics()
        self._dispatcher = Dispatcher(
            setup,
            limits,
            observe_batch=metrics.batches.observe,
            observe_restart=metrics.restarts.inc,
        )
        self._metrics, self._log = metrics, log
        self._service = app.Service(
            self._dispatcher, metrics, self._build_page, needs_token=token is not None
        )
        application = app.build(
            self._service, metrics, log, token=token, allowed_origins=options.allow_origin
        )
        protocol = type(
            "Protocol",
            (GuardedProtocol,),
            {
                "timeout_s": options.timeout,
                "max_connections": _max_connections(),
                "on_refusal": staticmethod(self._on_refusal),
            },
        )
        super().__init__(
            uvicorn.Config(
                application,
                http=protocol,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                backlog=_BACKLOG,
                ssl_certfile=options.certfile,
                ssl_keyfile=options.keyfile,
                timeout_graceful_shutdown=_CLOSE_SECONDS,
            )
        )
        self._stop = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `run`: uvicorn would end the process by the same signal."""
        yield

    async def run(self) -> None:  # type: ignore[override]
        """Serve until a signal, then answer what was accepted."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C is an exception
            loop.add_signal_handler(signal.SIGTERM, self._stop.set)
            loop.add_signal_handler(signal.SIGINT, self._interrupt)
        serving = asyncio.ensure_future(self.serve([self._listener]))
        starting = asyncio.ensure_future(self._dispatcher.start())
        stopping = asyncio.ensure_future(self._stop.wait())
        failing = asyncio.ensure_future(self._dispatcher.has_failed.wait())
        try:
            await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                gc.freeze()  # see `worker.main`
                self._announce()
                await asyncio.wait([stopping, failing, serving], return_when=asyncio.FIRST_COMPLETED)
            if self._dispatcher.has_failed.is_set():
                raise LostProcessError("no worker process can start; the log says why")
            await self._drain()
        finally:
            starting.cancel()
            self.should_exit = True
            await serving
            await self._dispatcher.stop()

    def _interrupt(self) -> None:
        """Ctrl-C stops the server; a second one ends it at once."""
        if self._stop.is_set():
            os._exit(_INTERRUPTED)
        self._stop.set()

    def _announce(self) -> None:
        host, port = self._listener.getsockname()[:2]
        host = f"[{host}]" if ":" in host else host
        scheme = "https" if self._options.certfile else "http"
        names = [info.name for info in self._dispatcher.models]
        _log.info(f"serving {', '.join(names)} at {scheme}://{host}:{port}; Ctrl-C stops it")

    def _on_refusal(self, status: int) -> None:
        """Count and log a request that did not reach the application."""
        self._metrics.requests.labels("refused", status).inc()
        self._log.request(RequestRecord("-", "-", "-", "-", status, 0))

    async def _drain(self) -> None:
        """Take no more requests, and answer those that were accepted.

        Raises:
            MnistctlError: some were not answered in time.
        """
        self._service.is_draining = True
        loop = asyncio.get_running_loop()
        end = loop.time() + self._options.grace
        if self._dispatcher.in_flight:
            _log.info(f"stopping; {self._dispatcher.in_flight} requests are still being answered")
        while self._dispatcher.in_flight and loop.time() < end:
            await asyncio.sleep(0.02)
        if self._dispatcher.in_flight:
            raise MnistctlError(
                f"{self._dispatcher.in_flight} requests were not answered within --grace "
                f"{self._options.grace:g} seconds"
            )

    async def _build_page(self, job: PageJob) -> Answer:
        """Let a process of its own build the page: it needs modules that reading does not."""
        builder = Dispatcher(self._setup, replace(self._limits, workers=1))
        try:
            await builder.start()
            return await builder.ask(job)
        except (MnistctlError, OSError) as error:
            _log.error(f"the page cannot be built: {error}")
            return messages.error(500, "the page cannot be built")
        finally:
            await builder.stop()


def _find_models(
    names: str | Path | Sequence[str | Path] | None, arch: str | None
) -> list[ServedModel]:
    given = [names] if isinstance(names, str | Path) else [*(names or [None])]  # type: ignore[list-item]
    served = []
    for item in given:
        own_name, separator, rest = str(item).partition("=")
        is_named = bool(separator) and not Path(str(item)).exists() and bool(_NAME.match(own_name))
        path = models.find_model(rest if is_named else item, prefer=formats.ONNX)
        served.append(ServedModel(own_name if is_named else _name_of(path), str(path), arch))
    return served


def _find_numbers_model(name: str | Path | None) -> ServedModel:
    path = models.find_model(name, prefer=formats.ONNX, task=NUMBERS)
    return ServedModel(_name_of(path), str(path))


def _name_of(path: Path) -> str:
    """A name for a model that can be part of an address, and does not tell where its file is."""
    return re.sub(r"[^\w.-]", "-", Path(models.name_of(path)).name.removesuffix(path.suffix))[:100]


def _check_names(setup: Setup) -> None:
    names = [model.name for model in (*setup.models, setup.numbers_model)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two models have the name '{twice}'; rename one: NAME=MODEL")


def _read_token(file: Path) -> str:
    token = files.read_text(file, DataError).strip()
    if len(token) < _MIN_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
        raise DataError(
            f"{file}: expected one token of {_MIN_TOKEN} ASCII characters or more, without spaces"
        )
    return token


def _check_tls(options: ServeOptions) -> None:
    if options.certfile is None:
        return
    for file in filter(None, (options.certfile, options.keyfile)):
        files.read_bytes(file, DataError)
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.certfile, options.keyfile, password=lambda: "")
    except (ssl.SSLError, ValueError) as error:
        raise DataError(
            f"{options.certfile}: not a certificate in PEM format with its private key"
        ) from error


@contextlib.contextmanager
def _listen(options: ServeOptions) -> Iterator[socket.socket]:
    """Open the port.

    Raises:
        MnistctlError: the address is not free, or not one of this machine.
    """
    if not _is_loopback(options.host) and options.token_file is None:
        _log.warning(
            f"--host {options.host}: anyone who can reach this address can use the server; require a "
            "token with --token-file FILE"
        )
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # asyncio sends small answers at once only if the protocol is stated.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    with listener:
        try:
            if os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((options.host, options.port))
        except (OSError, UnicodeError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or str(error)
            is_taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            advice = "choose another --port" if is_taken else "choose another --host or --port"
            raise MnistctlError(
                f"cannot listen on {options.host}:{options.port}: {reason}; {advice}"
            ) from error
        yield listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _max_connections() -> int:
    """How many connections can be open, after raising the system's limit of open files."""
    if os.name == "nt":
        return GuardedProtocol.max_connections
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = GuardedProtocol.max_connections + _RESERVED_FILES
    if soft < wanted:
        soft = min(wanted, hard) if hard != resource.RLIM_INFINITY else wanted
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(wanted, soft) - _RESERVED_FILES)
