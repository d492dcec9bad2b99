"""`plot`: the pictures of runs; and those that `train` and `evaluate` draw."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mnistctl.api import models
from mnistctl.api.models import split_of
from mnistctl.datasets import Split
from mnistctl.errors import DataError, ModelError, UsageError, WriteError
from mnistctl.evaluation import plots
from mnistctl.evaluation.report import Report, measure
from mnistctl.models.predictor import Outputs, Predictor
from mnistctl.run import run_folder
from mnistctl.run.run_folder import Run
from mnistctl.system import files

_log = logging.getLogger(__name__)

SHOWN = 40  # images on a sheet
CURVES = "curves.png"
TOGETHER = run_folder.ROOT / "curves.png"  # of several runs


@dataclass(frozen=True)
class PlotResult:
    """Pictures that were drawn."""

    pictures: list[str]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def plot(
    runs: str | Path | Sequence[str | Path] = (),
    *,
    output: Path | None = None,
    arch: str | Sequence[str] = (),
    data_dir: Path | None = None,
) -> PlotResult:
    """Draw the pictures of runs anew, and the curves of several over one another.

    Args:
        runs: run folders or names of runs; none: the newest run here.
        output: where several runs' curves go; None: `runs/curves.png`, drawn anew each time.
        arch: FILE.py:CLASS, for runs of a person's own classes; one for each class.
        data_dir: the data folder, if not the usual one.

    Raises:
        UsageError: `output` exists, or was given for a single run.
        ModelError: no such run, or its metrics cannot be read.
        WriteError: the curves of several runs cannot be written.
    """
    named: list[str | Path | None] = [runs] if isinstance(runs, str | Path) else [*runs]
    if output is not None:
        if len(named) < 2:
            raise UsageError(f"--output {output}: for the curves of several runs; name two or more")
        files.check_new(output)
    found = [_run(name) for name in named or [None]]
    drawn: list[Path] = []
    if len(found) > 1:
        drawn.append(output or TOGETHER)
        files.write_bytes(drawn[-1], _curves(found, title=f"{len(found)} runs"))
    for run in found:
        drawn += _write({run.folder / CURVES: _curves([run], title=run.folder.name)})
        try:
            _, about = models.describe(run.model_path)
            own = models.custom_class(about, arch)
            predictor = models.open_predictor(run.model_path, arch=own)
            split = split_of(predictor.metadata, "validation", None, data_dir)
        except (DataError, ModelError, UsageError) as error:
            _log.warning(f"only the curves of {run.folder}: {error}")
            continue
        drawn += _draw_validation(run, predictor, split)
    return PlotResult([str(path) for path in drawn])


def _run(name: str | Path | None) -> Run:
    path = models.find(name)
    run = run_folder.of(path)
    if run is None:
        raise ModelError(f"{path}: not the model of a run, so there is nothing to draw")
    return run


def draw_run(run: Run, predictor: Predictor, split: Split) -> list[Path]:
    """All pictures of a run: its curves, and its answers on its validation images, if it has any."""
    drawn = _write({run.folder / CURVES: _curves([run], title=run.folder.name)})
    return drawn + _draw_validation(run, predictor, split)


def _draw_validation(run: Run, predictor: Predictor, split: Split) -> list[Path]:
    if not len(split.images):
        return []
    report, outputs = measure(predictor, split, model=str(run.folder), batch_size=256)
    return draw_answers(run.folder, report, split, outputs)


def draw_answers(
    folder: Path,
    report: Report,
    split: Split,
    outputs: Outputs,
    *,
    prefix: str = "",
) -> list[Path]:
    """What a model makes of a split it has read.

    That is the confusion matrix, samples, the worst mistakes, how far its probabilities hold, and its
    robustness, if that was measured.

    Args:
        folder: where they go; made if it is not there.
        report: what it came to there.
        split: of one image or more.
        outputs: of all its images.
        prefix: of the files' names.
    """
    names = split.class_names
    about = f"{_short(report.dataset)} {split.name}"
    wrong = np.flatnonzero(outputs.logits.argmax(axis=1) != split.labels)
    true_probabilities = outputs.probabilities[wrong, split.labels[wrong]]
    worst = wrong[np.argsort(true_probabilities, kind="stable")]
    samples = np.random.default_rng(0).permutation(len(split.images))[:SHOWN]
    right = f"{100 * report.accuracy:.2f}% of {report.images:,} images right"
    some = f"the worst {SHOWN} of {len(wrong):,}" if len(wrong) > SHOWN else f"all {len(wrong):,}"

    def sheet(rows: Any, title: str) -> bytes:
        shown = Outputs(*(values[rows] for values in outputs))
        return plots.answers(split.images[rows], split.labels[rows], shown, names, title=title)

    drawn = {
        "confusion": plots.confusion(np.array(report.confusion), names, title=f"{about}: {right}"),
        "predictions": sheet(samples, f"{about}: some images; their label, and below it the answer"),
        "mistakes": sheet(worst[:SHOWN], f"{about}: mistakes ({some}), the worst first"),
    }
    error = f"expected calibration error {100 * report.calibration_error:.2f}%"
    drawn["reliability"] = plots.reliability(report.reliability, title=f"{about}: {error}")
    if report.robustness:
        sample = split.images[samples[0]]
        drawn["robustness"] = plots.robustness(
            report.robustness, sample, accuracy=report.accuracy, title=f"{about}: robustness"
        )
    named = {folder / f"{prefix}{name}.png": png for name, png in drawn.items()}
    return _write(named)


def _curves(runs: Sequence[Run], *, title: str) -> bytes:
    return plots.curves([(run.folder.name, run.read_metrics()) for run in runs], title=title)


def _write(pictures: dict[Path, bytes]) -> list[Path]:
    """Write what can be written, and give that; a picture that cannot be is no reason to fail."""
    written = []
    for path, png in pictures.items():
        try:
            files.write_bytes(path, png)
            written.append(path)
        except WriteError as error:
            _log.warning(str(error))
    return written


def _short(dataset: str) -> str:
    """A dataset's name; of a folder the last part."""
    return Path(dataset).name
