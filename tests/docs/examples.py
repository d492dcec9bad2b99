"""The examples of the README and of the documentation: fenced blocks, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.helpers import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(r"^```(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SAVED_AS = re.compile(r"Save this as `([\w.]+)`:\n\n\Z")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    text: str
    saved_as: str | None = None  # the file that the reader is told to save the text in
    output: str = ""  # what a Python block prints, if the page says so


@dataclass(frozen=True)
class Command:
    """A command of a block."""

    words: list[str]
    text: str  # as it is written
    target: str | None = None  # the file that its output goes to
    appends: bool = False
    output: str | None = None  # what it prints, in a block with output

    @property
    def program(self) -> str:
        return self.words[0]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page in order; the output of a Python block belongs to that block."""
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    end = 0
    for match in _BLOCK.finditer(text):
        between = text[end : match.start()]
        end = match.end()
        if match[1] == "text" and found and found[-1].language == "python" and not between.strip():
            found[-1] = Block("python", found[-1].text, found[-1].saved_as, match[2])
            continue
        saved_as = _SAVED_AS.search(between)
        found.append(Block(match[1], match[2], saved_as[1] if saved_as else None))
    return found


def commands(block: Block) -> Iterator[Command]:
    """The commands of a shell block; in a block with output they follow a `$`."""
    if block.language == "console":
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            (command,) = _split(line)
            yield Command(command.words, command.text, command.target, command.appends, output)
        return
    for line in block.text.replace("\\\n", " ").splitlines():
        yield from _split(line)


def _split(line: str) -> Iterator[Command]:
    for text in re.split(r" && ", line):
        words = shlex.split(text, comments=True)
        target, appends = None, False
        if len(words) > 2 and words[-2] in (">", ">>"):
            *words, redirection, target = words
            appends = redirection == ">>"
        if words:
            yield Command(words, text.split("  #")[0], target, appends)
