"""`plot`: draw the plots of runs. `train` and `evaluate` use the functions below too."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mnistctl.api import models
from mnistctl.datasets import Split
from mnistctl.errors import DataError, ModelError, UsageError, WriteError
from mnistctl.evaluation import plots
from mnistctl.evaluation.report import Report, measure
from mnistctl.models.predictor import Outputs, Predictor
from mnistctl.run import run_folder
from mnistctl.run.run_folder import Run
from mnistctl.system import files
from mnistctl.types import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_log = logging.getLogger(__name__)

SHOWN = 40  # images on a sheet
CURVES = "curves.png"
OVERLAY = run_folder.ROOT / "curves.png"  # the curves of several runs


@dataclass(frozen=True)
class PlotResult(Result):
    """The plots that were drawn."""

    plots: list[str]  # paths of the PNG files


def plot(
    runs: str | Path | Sequence[str | Path] = (),
    *,
    output: Path | None = None,
    arch: str | Sequence[str] = (),
    data_dir: Path | None = None,
) -> PlotResult:
    """Redraw the plots of runs, and overlay the learning curves of several runs.

    Args:
        runs: run folders or names of runs; none: the newest run here.
        output: a new file for the curves of several runs; None: `runs/curves.png`, which is replaced.
        arch: FILE.py:CLASS, for runs with custom architectures; one per class.
        data_dir: the data folder; None: the default.

    Raises:
        UsageError: `output` exists, or is named for a single run.
        ModelError: a run was not found, or its metrics cannot be read.
        WriteError: the curves of several runs cannot be written.
    """
    names: list[str | Path | None] = [runs] if isinstance(runs, str | Path) else [*runs]
    if output is not None:
        if len(names) < 2:
            raise UsageError(f"--output {output}: for the curves of several runs; name two or more")
        files.check_not_exists(output)
    run_folders = [_find_run(name) for name in names or [None]]
    paths: list[Path] = []
    if len(run_folders) > 1:
        paths.append(output or OVERLAY)
        figure = _curves(run_folders, title=f"{len(run_folders)} runs")
        files.write_bytes(paths[0], plots.png(figure))
    for run in run_folders:
        paths += _redraw(run, arch, data_dir)
    return PlotResult([str(path) for path in paths])


def _find_run(name: str | Path | None) -> Run:
    path = models.find_model(name)
    run = run_folder.run_of_model(path)
    if run is None:
        raise ModelError(f"{path}: not the model of a run, so there is nothing to draw")
    return run


def _redraw(run: Run, arch: str | Sequence[str], data_dir: Path | None) -> list[Path]:
    """Draw a run into its folder; only its curves if its model or its data cannot be opened."""
    paths = _write({run.folder / CURVES: _curves([run], title=run.folder.name)})
    try:
        _, metadata = models.describe(run.model_path)
        predictor = models.open_predictor(run.model_path, arch=models.matching_arch(metadata, arch))
        split = models.load_split(metadata, "validation", None, data_dir)
    except (DataError, ModelError, UsageError) as error:
        _log.warning(f"only the curves of {run.folder}: {error}")
        return paths
    return paths + _draw_validation(run, predictor, split, run.folder)


def check_folder(plots: bool | Path) -> None:
    """Check that the folder for plots is not a file.

    Raises:
        UsageError: it is.
    """
    if isinstance(plots, Path) and plots.exists() and not plots.is_dir():
        raise UsageError(f"--plots {plots}: not a folder")


def draw_run(run: Run, predictor: Predictor, split: Split, *, folder: Path) -> list[Path]:
    """Draw the learning curves of a run and its results on the validation images, if it has any."""
    paths = _write({folder / CURVES: _curves([run], title=run.folder.name)})
    return paths + _draw_validation(run, predictor, split, folder)


def _draw_validation(run: Run, predictor: Predictor, split: Split, folder: Path) -> list[Path]:
    if not len(split.images):
        return []
    report, outputs = measure(predictor, split, model=str(run.folder), batch_size=256)
    return draw_results(folder, report, split, outputs)


def draw_results(
    folder: Path, report: Report, split: Split, outputs: Outputs, *, prefix: str = ""
) -> list[Path]:
    """Draw a model's results: confusion matrix, samples, mistakes, reliability, and robustness.

    Robustness is drawn only if the report has it.

    Args:
        folder: for the plots; created if necessary.
        report: of the split.
        split: one image or more.
        outputs: of all its images.
        prefix: of the file names.
    """
    names = split.class_names
    title = f"{Path(report.dataset).name} {split.name}"
    samples = np.random.default_rng(0).permutation(len(split.images))[:SHOWN]
    mistakes = _mistakes(split, outputs)
    count = f"{len(mistakes):,}"
    shown = f"the worst {SHOWN} of {count}" if len(mistakes) > SHOWN else f"all {count}, worst first"

    def sheet(rows: npt.NDArray[np.intp], sheet_title: str) -> "Figure":
        part = Outputs(*(values[rows] for values in outputs))
        return plots.predictions(
            split.images[rows], split.labels[rows], part, names, title=f"{title}: {sheet_title}"
        )

    figures = {
        "confusion": plots.confusion(
            np.array(report.confusion),
            names,
            title=f"{title}: accuracy {100 * report.accuracy:.2f}% on {report.images:,} images",
        ),
        "predictions": sheet(samples, "sample predictions"),
        "mistakes": sheet(mistakes[:SHOWN], f"mistakes ({shown})"),
        "reliability": plots.reliability(
            report.reliability,
            title=f"{title}: expected calibration error {100 * report.calibration_error:.2f}%",
        ),
    }
    if report.robustness:
        figures["robustness"] = plots.robustness(
            report.robustness,
            split.images[samples[0]],
            accuracy=report.accuracy,
            title=f"{title}: accuracy on corrupted images",
        )
    return _write({folder / f"{prefix}{name}.png": figure for name, figure in figures.items()})


def _mistakes(split: Split, outputs: Outputs) -> npt.NDArray[np.intp]:
    """Indices of the misclassified images; the lowest probability of the true label comes first."""
    wrong = np.flatnonzero(outputs.logits.argmax(axis=1) != split.labels)
    true_probabilities = outputs.probabilities[wrong, split.labels[wrong]]
    return wrong[np.argsort(true_probabilities, kind="stable")]


def _curves(runs: Sequence[Run], *, title: str) -> "Figure":
    return plots.curves([(run.folder.name, run.read_metrics()) for run in runs], title=title)


def _write(figures: Mapping[Path, "Figure"]) -> list[Path]:
    """Write plots and return their paths. A plot that cannot be written is only warned about."""
    written = []
    for path, figure in figures.items():
        try:
            files.write_bytes(path, plots.png(figure))
            written.append(path)
        except WriteError as error:
            _log.warning(str(error))
    return written
