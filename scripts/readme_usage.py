"""Write the README's usage blocks from `--help`."""

import os
import subprocess
import sys
from pathlib import Path

from mnistctl.system import files

README = Path(__file__).parents[1] / "README.md"
BEGIN = "<!-- usage: made by scripts/readme_usage.py from --help -->\n"
END = "<!-- /usage -->\n"
COMMANDS = (
    *(
        "download",
        "data",
        "train",
        "eval",
        "predict",
        "label",
        "export",
        "benchmark",
        "ensemble",
        "info",
    ),
    *("recipes", "archs", "runs", "plot", "compare", "doctor"),
)


def usage(command: str) -> str:
    """What `mnistctl COMMAND --help` prints, 100 columns wide."""
    environment = {
        **os.environ,
        "TERMINAL_WIDTH": "100",
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    environment.pop("MNISTCTL_DATA_DIR", None)
    answer = subprocess.run(
        [sys.executable, "-m", "mnistctl", command, "--help"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )
    return "\n".join(line.rstrip() for line in answer.stdout.strip().splitlines())


def blocks() -> str:
    """The usage of every command, as the README has it."""
    return "\n".join(f"```\n{usage(command)}\n```\n" for command in COMMANDS)


if __name__ == "__main__":
    before, rest = README.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    files.write_bytes(README, f"{before}{BEGIN}\n{blocks()}\n{END}{after}".encode())
