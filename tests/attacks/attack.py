"""Run the program as a hostile or unlucky user would, and check that it fails in one clear line.

Every attack runs in a process of its own. A limit on its processor time stops a loop that computes
without end, and a limit on its wall-clock time stops one that waits. Both are far above what an honest
run takes, so that a busy machine fails no test.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tests.helpers import environment_without_coverage

CPU_LIMIT_S = 10
WALL_LIMIT_S = 90
MEMORY_LIMIT_MB = 1_000

# The peak memory of a child process includes that of the process which started it, so a small one does.
# The pages of mapped files are subtracted: the kernel maps as much as it likes of PyTorch's libraries.
LAUNCHER = """
import json, os, resource, subprocess, sys, time
report, cpu_s, wall_s, command = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
process = subprocess.Popen(command, start_new_session=True)
end, mapped_kb = time.monotonic() + wall_s, 0
while process.poll() is None and time.monotonic() < end:
    try:
        for line in open(f"/proc/{process.pid}/status"):
            if line.startswith("RssFile:"):
                mapped_kb = max(mapped_kb, int(line.split()[1]))
    except OSError:
        pass
    time.sleep(0.01)
code = process.poll()
if code is None:
    os.killpg(process.pid, 9)
    process.wait()
peak_mb = (resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss - mapped_kb) / 1024
with open(report, "w") as file:
    json.dump({"code": code, "peak_mb": peak_mb}, file)
"""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int | None  # None: it waited for longer than WALL_LIMIT_S; negative: killed by this signal
    out: str
    err: str
    peak_mb: float  # of the memory that it allocated

    def check_survived(self) -> None:
        """No hang, no crash, no traceback, no more than 1 GB."""
        assert self.code is not None, f"it hung; stderr: {self.err[-2000:]}"
        assert self.code >= 0, f"killed by signal {-self.code}; stderr: {self.err[-2000:]}"
        assert "Traceback" not in self.err, self.err[-4000:]
        assert "Traceback" not in self.out, self.out[-4000:]
        assert self.peak_mb <= MEMORY_LIMIT_MB, f"{self.peak_mb:.0f} MB"

    def check_failed(self, code: int, text: str = "") -> None:
        """It ended with this exit code and one line, which starts with the program's name."""
        self.check_survived()
        assert self.code == code, (self.code, self.out[-1000:], self.err[-1000:])
        lines = [line for line in self.err.splitlines() if line.startswith("mnistctl: ")]
        assert len(lines) == 1, self.err[-2000:]
        assert text in lines[0]
        assert len(lines[0]) < 1_000

    def check_succeeded(self) -> None:
        """It ended with exit code 0."""
        self.check_survived()
        assert self.code == 0, (self.code, self.err[-2000:])


def attack(
    *arguments: str | bytes | Path,
    folder: Path,
    stdin: IO[Any] | int = subprocess.DEVNULL,
    variables: dict[str, str] | None = None,
    cpu_s: int = CPU_LIMIT_S,
    command: tuple[str, ...] = (),
) -> Outcome:
    """Run `mnistctl ARGUMENTS`.

    Args:
        arguments: of the command line.
        folder: the working folder.
        stdin: standard input.
        variables: environment variables to add.
        cpu_s: the limit on the processor time of each process, in seconds. Training needs a higher one.
        command: what to run in place of `mnistctl`.
    """
    report = folder / ".attack.json"
    program = command or (str(Path(sys.executable).with_name("mnistctl")),)
    completed = subprocess.run(
        [
            sys.executable,
            "-P",
            "-S",
            "-c",
            LAUNCHER,
            report,
            str(cpu_s),
            str(WALL_LIMIT_S),
            *program,
            *arguments,
        ],
        cwd=folder,
        stdin=stdin,
        capture_output=True,
        env={**environment_without_coverage(), **(variables or {})},
        check=True,
    )
    outcome = json.loads(report.read_text())
    os.remove(report)
    return Outcome(
        code=outcome["code"],
        out=completed.stdout.decode(errors="replace"),
        err=completed.stderr.decode(errors="replace"),
        peak_mb=outcome["peak_mb"],
    )
