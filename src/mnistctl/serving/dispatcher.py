"""The queue of the server, and the worker processes that empty it."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mnistctl.errors import LostProcessError, MnistctlError, printable, shorten
from mnistctl.serving import messages
from mnistctl.serving.messages import Answer, Job, ModelInfo, Setup, Started
from mnistctl.serving.options import Limits

_log = logging.getLogger(__name__)

_RESTART_SECONDS = 1.0  # before a worker is started again that could not open its models
_MAX_RESTARTS = 10  # that fail one after the other while no worker is left
_END_SECONDS = 1.0  # for a worker to end by itself, and for the end of its pipes
_STDERR = 2
_LOST = "the process that read this has ended; send the request again"
_TOO_SLOW = "reading took more than {:g} seconds"


class OverloadError(Exception):
    """There is no room for another request."""


@dataclass(eq=False)
class _Waiting:
    job: Job
    answer: "asyncio.Future[Answer]"
    since: float = field(default_factory=time.perf_counter)


class Dispatcher:
    """Gives requests to workers, several at a time, and their answers to those who wait.

    Args:
        setup: what every worker opens.
        limits: of requests.
        observe_batch: is called with the number of requests in every batch.
        observe_restart: is called when a worker has ended.
    """

    def __init__(
        self,
        setup: Setup,
        limits: Limits,
        *,
        observe_batch: Callable[[int], None] = lambda size: None,
        observe_restart: Callable[[], None] = lambda: None,
    ) -> None:
        self.limits = limits
        self.models: list[ModelInfo] = []
        self.in_flight = 0  # requests that wait or are being read
        self.has_failed = asyncio.Event()  # no worker is left, and none can start
        self._bytes = 0  # of large bodies that are being received, wait or are being read
        self._setup = setup
        self._observe_batch = observe_batch
        self._observe_restart = observe_restart
        self._waiting: deque[_Waiting] = deque()
        self._workers: set[_Worker] = set()
        self._idle: deque[_Worker] = deque()
        self._has_started = False
        self._is_stopping = False
        self._window: asyncio.TimerHandle | None = None
        self._restarting: set[asyncio.Task[None]] = set()

    @property
    def queue_length(self) -> int:
        """The number of requests that wait for a worker."""
        return len(self._waiting)

    @property
    def is_ready(self) -> bool:
        """Whether a worker has its models open."""
        return self._has_started and any(worker.is_ready for worker in self._workers)

    async def start(self) -> None:
        """Start the workers, and wait until all are ready.

        Raises:
            MnistctlError: a worker cannot open a model.
        """
        await asyncio.gather(*(self._start_worker() for _ in range(self.limits.workers)))
        self._has_started = True

    async def stop(self) -> None:
        """End all workers."""
        self._is_stopping = True
        for task in self._restarting:
            task.cancel()
        workers = [*self._workers]
        for worker in workers:
            worker.close()
        if workers:
            await asyncio.wait([worker.ended for worker in workers], timeout=_END_SECONDS)
        for worker in workers:
            worker.kill()
            await worker.ended

    @contextmanager
    def room(self) -> Iterator[Callable[[int], None]]:
        """Room for the bytes of a request, from their arrival to its answer.

        Yields:
            A function that takes room for a body of so many bytes in all. It raises `OverloadError` if
            there is none. Small bodies always find room; the queue limits their number.
        """
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            more = size - taken
            if size > messages.LARGE_BODY:
                if self._bytes + more > self.limits.max_total_body:
                    raise OverloadError
                self._bytes += more
                taken += more

        try:
            yield take
        finally:
            self._bytes -= taken

    async def ask(self, job: Job) -> Answer:
        """Wait for the answer to a job. If the caller is cancelled, the job is dropped.

        Raises:
            OverloadError: too many requests wait or are being read.
        """
        if self.in_flight >= self.limits.max_queue:
            raise OverloadError
        self.in_flight += 1
        waiting = _Waiting(job, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._dispatch()
        try:
            return await waiting.answer
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            raise
        finally:
            self.in_flight -= 1

    def _dispatch(self, *, window_is_over: bool = False) -> None:
        """Give waiting requests to idle workers."""
        while self._waiting and self._idle:
            size = min(self.limits.max_batch, -(-len(self._waiting) // len(self._idle)))
            others_are_read = len(self._idle) < len(self._workers)
            is_full = len(self._waiting) >= self.limits.max_batch or self._waiting[0].job.is_alone
            if others_are_read and not (is_full or window_is_over) and self.limits.window_s:
                self._open_window()
                return
            worker = self._idle.popleft()
            if not worker.is_ready:
                continue  # it has ended, and is about to be replaced
            batch = [self._waiting.popleft()]
            while len(batch) < size and not (batch[0].job.is_alone or self._waiting[0].job.is_alone):
                batch.append(self._waiting.popleft())
            self._observe_batch(len(batch))
            worker.send(batch)

    def _open_window(self) -> None:
        if self._window is None:
            waits_already = time.perf_counter() - self._waiting[0].since
            loop = asyncio.get_running_loop()
            self._window = loop.call_later(
                max(0.0, self.limits.window_s - waits_already), self._close_window
            )

    def _close_window(self) -> None:
        self._window = None
        self._dispatch(window_is_over=True)

    async def _start_worker(self) -> None:
        worker = await _Worker.start(self._setup, self.limits, self._on_answer, self._on_end)
        self._workers.add(worker)
        started = await worker.started
        self.models = self.models or started.models
        self._idle.append(worker)
        self._dispatch()

    def _on_answer(self, worker: "_Worker") -> None:
        self._idle.append(worker)
        self._dispatch()

    def _on_end(self, worker: "_Worker") -> None:
        self._workers.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        if self._is_stopping or not worker.is_started:
            return
        self._observe_restart()
        _log.warning("a worker process has ended; starting another one")
        task = asyncio.ensure_future(self._restart())
        self._restarting.add(task)
        task.add_done_callback(self._restarting.discard)

    async def _restart(self) -> None:
        for _ in range(_MAX_RESTARTS):
            try:
                await self._start_worker()
                return
            except (MnistctlError, OSError) as error:
                _log.error(f"a worker process cannot start: {error}")
            await asyncio.sleep(_RESTART_SECONDS)
        if not any(worker.is_ready for worker in self._workers):
            self.has_failed.set()


class _Worker(asyncio.SubprocessProtocol):
    """A worker process, seen from the server. It has one batch at a time."""

    def __init__(
        self,
        limits: Limits,
        on_answer: "Callable[[_Worker], None]",
        on_end: "Callable[[_Worker], None]",
    ) -> None:
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[Started] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.is_started = False
        self.has_exited = False
        self._timeout_s = limits.timeout_s
        self._on_answer = on_answer
        self._on_end = on_end
        self._received = bytearray()
        self._batch: Sequence[_Waiting] = ()
        self._timer: asyncio.TimerHandle | None = None
        self._failure = _LOST
        self._transport: asyncio.SubprocessTransport
        self._stdin: Any

    @property
    def is_ready(self) -> bool:
        """Whether its models are open."""
        return self.is_started and not self.has_exited

    @classmethod
    async def start(cls, setup: Setup, limits: Limits, *callbacks: Any) -> "_Worker":
        """Start the process. `started` is done when its models are open."""
        environment = os.environ | {"OMP_NUM_THREADS": "1"}  # the workers share the cores
        loop = asyncio.get_running_loop()
        _, worker = await loop.subprocess_exec(
            lambda: cls(limits, *callbacks),
            *(sys.executable, "-P", "-m", "mnistctl.serving.worker"),
            env=environment,
        )
        worker._stdin.write(messages.frame(setup))
        return worker

    def send(self, batch: Sequence[_Waiting]) -> None:
        """Send jobs to an idle worker."""
        self._batch = batch
        self._timer = asyncio.get_running_loop().call_later(self._timeout_s, self._on_timeout)
        self._stdin.write(messages.frame([waiting.job for waiting in batch]))

    def close(self) -> None:
        """Let the process end as soon as it has answered."""
        self._stdin.close()

    def kill(self) -> None:
        """End the process at once."""
        self.has_exited = True
        if self._transport.get_returncode() is None:
            self._transport.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))

    def _on_timeout(self) -> None:
        self._failure = _TOO_SLOW.format(self._timeout_s)
        self.kill()

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.BaseProtocol`."""
        self._transport = transport
        self._stdin = transport.get_pipe_transport(0)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Collect a message of the process, or log what it writes to stderr."""
        if fd == _STDERR:
            for line in data.decode(errors="replace").splitlines():
                if line.strip():
                    _log.warning(f"worker: {printable(shorten(line))}")
            return
        received = self._received
        received += data
        head = messages.LENGTH_BYTES
        if len(received) >= head and len(received) >= head + messages.length_of(received[:head]):
            content = bytes(received[head:])
            received.clear()
            self._take(content)

    def _take(self, content: bytes) -> None:
        if not self.is_started:
            start = messages.decode_start(content)
            self.is_started = isinstance(start, Started)
            if self.started.done():  # the server stops meanwhile
                return
            if isinstance(start, Started):
                self.started.set_result(start)
                return
            error = MnistctlError(start.message)
            error.exit_code = start.exit_code
            self.started.set_exception(error)
            return
        self._settle(messages.decode_answers(content))
        if not self.has_exited:
            self._on_answer(self)

    def _settle(self, answers: Sequence[Answer]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        batch, self._batch, self._timer = self._batch, (), None
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.answer.done():  # cancelled: the client has hung up
                waiting.answer.set_result(answer)

    def process_exited(self) -> None:
        """The process has ended. What it wrote before that may still be on its way."""
        self.has_exited = True
        asyncio.get_running_loop().call_later(_END_SECONDS, self._transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing more comes from the process: its requests fail, and another one is started."""
        self._settle([messages.error(500, self._failure)] * len(self._batch))
        if not self.started.done():
            self.started.set_exception(LostProcessError("a worker process ended while it started"))
        if not self.ended.done():
            self.ended.set_result(None)
        self._transport.close()
        self._on_end(self)
