"""Measure `mnistctl serve` with wrk and at fixed rates, beside servers that tutorials write.

Writes a section of `docs/reference/benchmarks.md`. The client runs on the same machine. wrk and the
extra `serve` must be installed, and the machine idle:

    python scripts/bench_serve.py [--others PYTHON] [--rounds 3] [--seconds 30] [--overload-seconds 60]

PYTHON is the interpreter of an environment with fastapi, uvicorn, python-multipart, litserve, bentoml,
onnxruntime, NumPy and Pillow; without it they are left out.
"""

import argparse
import asyncio
import contextlib
import io
import json
import os
import re
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import requests
from PIL import Image

import bench
import open_loop
from mnistctl.api import models, picture_requests
from mnistctl.models import formats

PORT = 8765
STARTS = 5
BATCH = 32  # images of a request of tensors
FORM = b'--x\r\ncontent-disposition: form-data; name="file"; filename="d.png"\r\n\r\n'
OTHERS = {
    "FastAPI and onnxruntime": "fastapi",
    "LitServe": "litserve",
    "BentoML": "bentoml",
}
LUA = """
local file = io.open("%s", "rb"); wrk.body = file:read("*a"); file:close()
wrk.method = "POST"
%s
function done(summary, latency)
  io.write(string.format("RESULT %%f %%f %%f %%d\\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    summary.errors.status + summary.errors.timeout + summary.errors.read + summary.errors.connect))
end
"""


class Wrk(NamedTuple):
    """The result of wrk."""

    rate: float  # requests per second
    median_ms: float
    p99_ms: float
    errors: int


def drawing() -> bytes:
    """A drawn digit as a PNG of 28×28 pixels."""
    picture = Image.open(io.BytesIO(picture_requests.EXAMPLE.read_bytes())).convert("L")
    stream = io.BytesIO()
    picture.resize((28, 28), Image.Resampling.BOX).save(stream, "PNG")
    return stream.getvalue()


def form(picture: bytes) -> bytes:
    """A form with the picture as its file."""
    return FORM + picture + b"\r\n--x--\r\n"


@contextlib.contextmanager
def serving(command: Sequence[str], path: str, body: bytes, media_type: str) -> Iterator[int]:
    """Run a server; yields its process id once it answers."""
    with subprocess.Popen(
        command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            end = time.monotonic() + 90
            while True:
                with contextlib.suppress(requests.RequestException):
                    answer = requests.post(
                        f"http://127.0.0.1:{PORT}{path}",
                        body,
                        headers={"content-type": media_type},
                        timeout=10,
                    )
                    if answer.ok:
                        break
                    last = answer.text
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"{' '.join(command)}: no server ({locals().get('last')})")
                time.sleep(0.1)
            yield process.pid
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def mnistctl_serving(path: str, body: bytes, media_type: str) -> contextlib.AbstractContextManager[int]:
    """Run `mnistctl serve` with its defaults."""
    command = [*bench.MNISTCTL, "serve", "bundled", "--port", str(PORT)]
    return serving(command, path, body, media_type)


def wrk(path: str, body: bytes, headers: dict[str, str], *, clients: int, seconds: int) -> Wrk:
    """Send requests from clients that each wait for their answers."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "body").write_bytes(body)
        lines = "\n".join(f'wrk.headers["{name}"] = "{value}"' for name, value in headers.items())
        (Path(folder) / "wrk.lua").write_text(LUA % (Path(folder) / "body", lines))
        result = subprocess.run(
            [
                *("wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "10s"),
                *("-s", f"{folder}/wrk.lua", f"http://127.0.0.1:{PORT}{path}"),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
    match = re.search(r"RESULT (\S+) (\S+) (\S+) (\d+)", result.stdout)
    assert match is not None, result.stdout
    return Wrk(float(match[1]), float(match[2]), float(match[3]), int(match[4]))


def seconds_to_ready() -> float:
    """From the start of `mnistctl serve` until it is ready."""
    started = time.perf_counter()
    command = [*bench.MNISTCTL, "serve", "bundled", "--port", str(PORT), "-q"]
    with subprocess.Popen(command) as process:
        while True:
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(f"http://127.0.0.1:{PORT}/v2/health/ready", timeout=5).ok:
                    break
            time.sleep(0.005)
        seconds = time.perf_counter() - started
        process.terminate()
    return seconds


def onnxruntime_rate(seconds: float) -> float:
    """Images per second of the bundled model in this process, in the same batches."""
    predictor = models.open_predictor(models.bundled(formats.ONNX))
    images = np.zeros((BATCH, 28, 28), dtype=np.uint8)
    predictor(images)
    count, started = 0, time.perf_counter()
    while time.perf_counter() < started + seconds:
        predictor(images)
        count += BATCH
    return count / (time.perf_counter() - started)


def tensors() -> tuple[bytes, dict[str, str]]:
    """A request of tensors with binary data, and its headers."""
    tensor = {
        "name": "images",
        "shape": [BATCH, 28, 28],
        "datatype": "UINT8",
        "parameters": {"binary_data_size": BATCH * 784},
    }
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(len(header)),
    }
    return header + bytes(BATCH * 784), headers


class Memory(threading.Thread):
    """Watches the memory of a process and its children, in megabytes, each shared page once."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._is_done = threading.Event()
        self.peak = 0.0

    def run(self) -> None:
        """Look twice a second."""
        while not self._is_done.wait(0.5):
            self.peak = max(self.peak, self.now())

    def now(self) -> float:
        """The memory now."""
        children = Path(f"/proc/{self._process}/task/{self._process}/children").read_text().split()
        total = 0
        for process in (str(self._process), *children):
            with contextlib.suppress(OSError):
                text = Path(f"/proc/{process}/smaps_rollup").read_text()
                total += int(re.findall(r"^Pss: +(\d+)", text, re.MULTILINE)[0])
        return total * 1024 / 1e6

    def stop(self) -> None:
        """Look no more."""
        self._is_done.set()
        self.join()


def overload(picture: bytes, capacity: float, seconds: float) -> list[str]:
    """Offer 1, 2 and 4 times the rate that the server can carry; a row of the table for each."""
    request = (
        b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ncontent-length: "
        + str(len(picture)).encode()
        + b"\r\n\r\n"
        + picture
    )
    rows = []
    with mnistctl_serving("/predict", picture, "image/png") as process:
        for factor in (1, 2, 4):
            memory = Memory(process)
            memory.start()
            load = asyncio.run(open_loop.send(PORT, request, rate=factor * capacity, seconds=seconds))
            memory.stop()
            after = wrk("/predict", picture, {"content-type": "image/png"}, clients=1, seconds=1)
            times = sorted(load.accepted_s) or [0.0]
            cells = [
                f"{factor}",
                *(f"{count:,.0f}" for count in (factor * capacity, load.sent / seconds)),
                *(f"{load.statuses[status] / seconds:,.0f}" for status in (200, 429)),
                f"{load.statuses.total() - load.statuses[200] - load.statuses[429]}",
                *(f"{1e3 * times[int(share * (len(times) - 1))]:.0f}" for share in (0.5, 0.99, 1)),
                f"{memory.peak:.0f}",
                f"{after.median_ms:.1f}",
            ]
            rows.append(f"| {' | '.join(cells)} |")
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure in turns and write the section."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--others")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--overload-seconds", type=int, default=60)
    arguments = parser.parse_args()
    picture = drawing()
    png = {"content-type": "image/png"}
    starts = [seconds_to_ready() for _ in range(STARTS)]
    print("ready", starts, flush=True)

    one, many, tensor_rates, in_process = [], [], [], []
    body, headers = tensors()
    with mnistctl_serving("/predict", picture, "image/png"):
        wrk("/predict", picture, png, clients=16, seconds=2)  # warm
        for _ in range(arguments.rounds):
            one.append(wrk("/predict", picture, png, clients=1, seconds=10))
            many.append(wrk("/predict", picture, png, clients=16, seconds=arguments.seconds))
            answer = wrk("/v2/models/bundled/infer", body, headers, clients=16, seconds=10)
            tensor_rates.append(BATCH * answer.rate)
            in_process.append(onnxruntime_rate(5))
            print(one[-1], many[-1], tensor_rates[-1], in_process[-1], flush=True)

    commands = {"mnistctl serve": [*bench.MNISTCTL, "serve", "bundled", "--port", str(PORT)]}
    if arguments.others:
        os.environ["MODEL"] = str(models.bundled(formats.ONNX))
        folder = Path(__file__).with_name("other_servers")
        commands |= {
            title: [arguments.others, str(folder / f"with_{name}.py"), str(PORT)]
            for title, name in OTHERS.items()
        }
    form_type = "multipart/form-data; boundary=x"
    beside: dict[str, list[Wrk]] = {title: [] for title in commands}
    for _ in range(arguments.rounds):
        for title, command in commands.items():
            with serving(command, "/predict", form(picture), form_type):
                send = {"content-type": form_type}
                wrk("/predict", form(picture), send, clients=16, seconds=2)
                beside[title].append(wrk("/predict", form(picture), send, clients=16, seconds=10))
                print(title, beside[title][-1], flush=True)
    overloaded = overload(
        picture, statistics.median(run.rate for run in many), arguments.overload_seconds
    )
    rows: dict[str, tuple[list[float], int]] = {
        "from the start until it is ready, s": (starts, 2),
        "one client, /predict: median, ms": ([run.median_ms for run in one], 2),
        "one client, /predict: 99th percentile, ms": ([run.p99_ms for run in one], 2),
        f"16 clients, {arguments.seconds} s: requests/s": ([run.rate for run in many], 0),
        "16 clients: 99th percentile, ms": ([run.p99_ms for run in many], 1),
        "16 clients: errors": ([float(run.errors) for run in many], 0),
        f"16 clients, /v2/…/infer, {BATCH} images in binary: images/s": (tensor_rates, 0),
        "onnxruntime in one process without HTTP: images/s": (in_process, 0),
    }
    ratio = statistics.median(tensor_rates) / statistics.median(in_process)
    bench.write_section(
        "bench_serve",
        "The server",
        [
            "`mnistctl serve bundled` with its defaults. The client, wrk, runs on the same cores. A "
            "drawn digit is a PNG of 28×28 pixels.",
            "",
            "| what | median | range |",
            "| --- | --- | --- |",
            *(
                f"| {title} | {bench.median_and_range(values, digits=digits)} |"
                for title, (values, digits) in rows.items()
            ),
            "",
            f"Images per second over HTTP ÷ without it: {ratio:.2f}.",
            "",
            "The same PNG in a form, 16 clients, 10 s each in turns. The others scale the picture to "
            "28×28 and do nothing else to it.",
            "",
            "| server | requests/s (median) | range | 99th percentile, ms (median) | range | errors |",
            "| --- | --- | --- | --- | --- | --- |",
            *(
                f"| {title} | {bench.median_and_range([run.rate for run in runs], digits=0)} | "
                f"{bench.median_and_range([run.p99_ms for run in runs], digits=1)} | "
                f"{sum(run.errors for run in runs)} |"
                for title, runs in beside.items()
            ),
            "",
            f"More requests than it can carry, at fixed rates, {arguments.overload_seconds} s each. "
            "The sender is written in Python and takes its part of the two cores. It opens up to "
            f"{open_loop.MAX_CONNECTIONS:,} connections; if all of them wait, it sends less.",
            "",
            "| factor | offered/s | sent/s | read/s | 429/s | other answers | median, ms | "
            "99th percentile, ms | longest, ms | memory, MB | one client afterwards: median, ms |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            *overloaded,
        ],
    )


if __name__ == "__main__":
    main()
