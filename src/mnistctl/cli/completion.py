"""Completions for the shell. Each imports what it needs, since `--help` needs none of it."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Completions = list[tuple[str, str]]  # name and summary

_prefix = ""  # the part of the word before its last colon, which bash does not replace


def join_bash_words() -> None:
    """Undo that bash splits words at colons and at "=", before Typer reads them.

    bash passes `torchvision:res` as three words and replaces the last one only, so completions are
    without the prefix then.
    """
    global _prefix
    words = os.environ.get("COMP_WORDS", "").split("\n")[: int(os.environ.get("COMP_CWORD", 0)) + 1]
    text = "\n".join(words).replace("\n:\n", ":").removesuffix("\n:") + ":" * (words[-1] == ":")
    text = text.replace("\n=", "") + "\n" * (words[-1] == "=")
    start, newline, word = text.rpartition("\n")
    if ":" in word and words[-1] != word:
        _prefix, word = re.findall("(.*:)(.*)", word)[0]
    os.environ["COMP_WORDS"] = start + newline + word
    os.environ["COMP_CWORD"] = str(text.count("\n"))


def complete_archs(incomplete: str) -> Completions:
    """The built-in architectures, and those of torchvision once a letter of their prefix is typed."""
    from mnistctl.settings import architectures

    names = {name: net.summary for name, net in architectures.ARCHITECTURES.items()}
    if not _prefix + incomplete:
        names[architectures.TORCHVISION] = "and the name of a net of torchvision"
    else:
        names |= {name: "" for name in architectures.sizes() if name not in names}
    return _matches(names, incomplete)


def complete_datasets(incomplete: str) -> Completions:
    """The datasets."""
    from mnistctl.datasets import catalog  # NumPy, 0.07 s

    return _matches({name: item.summary for name, item in catalog.DATASETS.items()}, incomplete)


def complete_recipes(incomplete: str) -> Completions:
    """The recipes."""
    from mnistctl.settings import recipes

    return _matches({name: item.summary for name, item in recipes.read_all().items()}, incomplete)


def complete_devices(incomplete: str) -> Completions:
    """The devices. Whether this machine has them is not asked, because that would import torch."""
    names = {"auto": "the best one", "cpu": "", "cuda": "an NVIDIA GPU", "mps": "a GPU of Apple"}
    return _matches(names, incomplete)


def complete_trackers(incomplete: str) -> Completions:
    """The trackers."""
    from mnistctl.run import tracking

    return _matches(dict.fromkeys(tracking.TRACKERS, ""), incomplete)


def complete_splits(ctx: Any, incomplete: str) -> Completions:
    """The splits of the dataset on the command line, separated by commas."""
    from mnistctl import datasets
    from mnistctl.datasets import catalog

    dataset = catalog.DATASETS.get(ctx.params.get("dataset"))
    names = [*datasets.SPLITS, *(dataset.subsets if dataset else ())]
    return _list_matches(dict.fromkeys(names, ""), incomplete)


def complete_formats(incomplete: str) -> Completions:
    """The formats of exports, separated by commas."""
    from mnistctl.models import formats

    return _list_matches({name: item.summary for name, item in formats.FORMATS.items()}, incomplete)


def complete_runs(incomplete: str) -> Completions:
    """The runs in the working folder, the newest first."""
    from mnistctl.run import run_folder

    return _matches({run.folder.name: "" for run in reversed(run_folder.find_all())}, incomplete)


def complete_models(incomplete: str) -> Completions:
    """The runs and the model files in the working folder, and the bundled model."""
    from mnistctl.models import formats

    kinds = [kind.suffix for kind in formats.FORMATS.values() if kind.is_reopened]
    suffixes = (f".{formats.SAFETENSORS}", *kinds)
    files = sorted(path.name for path in Path().iterdir() if path.name.endswith(suffixes))
    names = [*(name for name, _ in complete_runs("")), *files, "bundled"]
    return _matches(dict.fromkeys(names, ""), incomplete)


def _matches(summaries: Mapping[str, str], incomplete: str) -> Completions:
    return [
        (name.removeprefix(_prefix), text)
        for name, text in summaries.items()
        if name.startswith(_prefix + incomplete)
    ]


def _list_matches(summaries: Mapping[str, str], incomplete: str) -> Completions:
    """The names that may follow in a list separated by commas."""
    start, comma, last = incomplete.rpartition(",")
    names = {name: text for name, text in summaries.items() if name not in start.split(",")}
    return [(start + comma + name, text) for name, text in _matches(names, last)]
