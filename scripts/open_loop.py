"""Send requests at a fixed rate, whether they are answered or not, as many users do."""

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field

MAX_CONNECTIONS = 1000
_TICK_S = 0.002


@dataclass
class Load:
    """What was sent and answered."""

    sent: int = 0
    unsent: int = 0  # all connections waited for answers
    statuses: Counter[int] = field(default_factory=Counter)
    accepted_s: list[float] = field(default_factory=list)  # time to each answer with 200


class _Connection(asyncio.Protocol):
    def __init__(self, load: Load, free: "deque[_Connection]") -> None:
        self._load, self._free = load, free
        self._received = bytearray()
        self._started = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def send(self, request: bytes) -> None:
        self._started = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        head = received.find(b"\r\n\r\n")
        if head < 0:
            return
        place = received.find(b"content-length: ") + len(b"content-length: ")
        length = int(received[place : received.index(b"\r", place)])
        if len(received) < head + 4 + length:
            return
        status = int(received[9:12])
        self._load.statuses[status] += 1
        if status == 200:
            self._load.accepted_s.append(time.perf_counter() - self._started)
        received.clear()
        self._free.append(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._load.statuses[0] += self not in self._free
        if self in self._free:
            self._free.remove(self)


async def send(port: int, request: bytes, *, rate: float, seconds: float) -> Load:
    """Send requests to a server on this machine.

    Args:
        port: of the server.
        request: the bytes of a request.
        rate: requests per second.
        seconds: how long.
    """
    loop = asyncio.get_running_loop()
    load, free = Load(), deque[_Connection]()
    opened = 0
    start = loop.time()
    while (now := loop.time()) < start + seconds:
        for _ in range(int((now - start) * rate) - load.sent - load.unsent):
            if not free and opened < MAX_CONNECTIONS:
                await loop.create_connection(lambda: _added(load, free), "127.0.0.1", port)
                opened += 1
            if free:
                free.popleft().send(request)
                load.sent += 1
            else:
                load.unsent += 1
        await asyncio.sleep(_TICK_S)
    end = loop.time() + 10
    while load.statuses.total() < load.sent and loop.time() < end:
        await asyncio.sleep(0.05)
    return load


def _added(load: Load, free: "deque[_Connection]") -> _Connection:
    connection = _Connection(load, free)
    free.append(connection)
    return connection
