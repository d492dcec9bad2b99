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

from mnistctl.errors import LostProcessError, MnistctlError
from mnistctl.serving import messages
from mnistctl.serving.messages import Answer, Job, ModelInfo, NotStarted, PictureJob, Setup, Started
from mnistctl.serving.options import Limits

_log = logging.getLogger(__name__)

_LARGE_BODY = 64 << 10  # bytes: a larger request is not read together with others
_RESTART_SECONDS = 1.0  # before a worker is started again that could not open its models
_END_SECONDS = 1.0  # for a worker to end by itself
_LOST = "the process that read this has ended; the server has started another one"
_TOO_SLOW = "reading took more than {:g} seconds"


class OverloadError(Exception):
    """There is no place for another request."""


@dataclass(eq=False)
class _Waiting:
    job: Job
    answer: "asyncio.Future[Answer]"
    is_alone: bool
    since: float = field(default_factory=time.perf_counter)


class Dispatcher:
    """Gives requests to workers, several at a time, and their answers to those who wait.

    Args:
        setup: what every worker opens.
        limits: of requests.
        observe_batch: is called with the number of requests in every batch.
    """

    def __init__(self, setup: Setup, limits: Limits, *, observe_batch: Callable[[int], None]) -> None:
        self.limits = limits
        self.models: list[ModelInfo] = []
        self.places = 0  # requests that are received, waiting or being read
        self.restarts = 0  # of workers that have ended
        self._bytes = 0
        self._setup = setup
        self._observe_batch = observe_batch
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
        return self._has_started and any(worker.is_started for worker in self._workers)

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
    def place(self, size: int) -> Iterator[Callable[[int], None]]:
        """Take a place for a request, from the start of its body to its answer.

        Args:
            size: bytes of the body that is announced.

        Yields:
            A function that takes room for more bytes; it raises `OverloadError` too.

        Raises:
            OverloadError: there is no place left, or no room for the body.
        """
        taken = 0

        def take(more: int) -> None:
            nonlocal taken
            if self._bytes + more > self.limits.max_total_body:
                raise OverloadError
            self._bytes += more
            taken += more

        if self.places >= self.limits.max_queue:
            raise OverloadError
        self.places += 1
        try:
            take(size)
            yield take
        finally:
            self.places -= 1
            self._bytes -= taken

    async def ask(self, job: Job) -> Answer:
        """Wait for the answer to a job. If the caller is cancelled, the job is dropped."""
        is_numbers = isinstance(job, PictureJob) and job.numbers
        is_alone = is_numbers or len(job.body) > _LARGE_BODY
        waiting = _Waiting(job, asyncio.get_running_loop().create_future(), is_alone)
        self._waiting.append(waiting)
        self._dispatch()
        try:
            return await waiting.answer
        except asyncio.CancelledError:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
            raise

    def _dispatch(self, *, window_is_over: bool = False) -> None:
        """Give waiting requests to idle workers."""
        while self._waiting and self._idle:
            size = min(self.limits.max_batch, -(-len(self._waiting) // len(self._idle)))
            others_are_read = len(self._idle) < len(self._workers)
            is_full = len(self._waiting) >= self.limits.max_batch or self._waiting[0].is_alone
            if others_are_read and not (is_full or window_is_over) and self.limits.window_s:
                self._open_window()
                return
            worker = self._idle.popleft()
            batch = [self._waiting.popleft()]
            while len(batch) < size and not (batch[0].is_alone or self._waiting[0].is_alone):
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
        worker = await _Worker.start(self._setup, self.limits, self._has_answered, self._has_ended)
        self._workers.add(worker)
        started = await worker.started
        self.models = self.models or started.models
        self._idle.append(worker)
        self._dispatch()

    def _has_answered(self, worker: "_Worker") -> None:
        self._idle.append(worker)
        self._dispatch()

    def _has_ended(self, worker: "_Worker") -> None:
        self._workers.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        if self._is_stopping or not worker.is_started:
            return
        self.restarts += 1
        _log.warning("a worker process has ended; starting another one")
        task = asyncio.ensure_future(self._restart())
        self._restarting.add(task)
        task.add_done_callback(self._restarting.discard)

    async def _restart(self) -> None:
        while True:
            try:
                await self._start_worker()
                return
            except (MnistctlError, OSError) as error:
                _log.error(f"a worker process cannot start: {error}")
                await asyncio.sleep(_RESTART_SECONDS)


class _Worker(asyncio.SubprocessProtocol):
    """A worker process, seen from the server. It has one batch at a time."""

    def __init__(
        self,
        limits: Limits,
        has_answered: "Callable[[_Worker], None]",
        has_ended: "Callable[[_Worker], None]",
    ) -> None:
        loop = asyncio.get_running_loop()
        self.started: asyncio.Future[Started] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.is_started = False
        self._timeout_s = limits.timeout_s
        self._has_answered = has_answered
        self._has_ended = has_ended
        self._received = bytearray()
        self._batch: Sequence[_Waiting] = ()
        self._timer: asyncio.TimerHandle | None = None
        self._failure = _LOST
        self._transport: asyncio.SubprocessTransport
        self._stdin: Any

    @classmethod
    async def start(cls, setup: Setup, limits: Limits, *callbacks: Any) -> "_Worker":
        """Start the process. `started` is done when its models are open."""
        environment = os.environ | {"OMP_NUM_THREADS": "1"}  # the workers share the cores
        loop = asyncio.get_running_loop()
        _, worker = await loop.subprocess_exec(
            lambda: cls(limits, *callbacks),
            *(sys.executable, "-P", "-m", "mnistctl.serving.worker"),
            stderr=None,
            env=environment,
        )
        worker._stdin.write(messages.frame(setup))
        return worker

    def send(self, batch: Sequence[_Waiting]) -> None:
        """Send jobs to an idle worker."""
        self._batch = batch
        self._timer = asyncio.get_running_loop().call_later(self._timeout_s, self._is_too_slow)
        self._stdin.write(messages.frame([waiting.job for waiting in batch]))

    def close(self) -> None:
        """Let the process end as soon as it has answered."""
        self._stdin.close()

    def kill(self) -> None:
        """End the process at once."""
        if self._transport.get_returncode() is None:
            self._transport.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))

    def _is_too_slow(self) -> None:
        self._failure = _TOO_SLOW.format(self._timeout_s)
        self.kill()

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.BaseProtocol`."""
        self._transport = transport
        self._stdin = transport.get_pipe_transport(0)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Collect a message of the process."""
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
            if isinstance(start, NotStarted):
                error = MnistctlError(start.message)
                error.exit_code = start.exit_code
                self.started.set_exception(error)
                return
            self.is_started = True
            self.started.set_result(start)
            return
        answers = messages.decode_answers(content)
        self._settle(answers)
        self._has_answered(self)

    def _settle(self, answers: Sequence[Answer]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        batch, self._batch, self._timer = self._batch, (), None
        for waiting, answer in zip(batch, answers, strict=True):
            if not waiting.answer.done():  # cancelled: the client has hung up
                waiting.answer.set_result(answer)

    def process_exited(self) -> None:
        """The process has ended: its requests fail, and another one is started."""
        self._settle([messages.error(500, self._failure)] * len(self._batch))
        if not self.started.done():
            self.started.set_exception(LostProcessError("a worker process ended while it started"))
        if not self.ended.done():
            self.ended.set_result(None)
        self._has_ended(self)
        self._transport.close()
