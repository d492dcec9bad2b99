"""`plot`: draw the plots of runs. `train` and `evaluate` use the functions below too."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from mnistctl.api import models
from mnistctl.datasets import Split
from mnistctl.errors import DataError, ModelError, UsageError, WriteError
from mnistctl.evaluation import detection, figures, learning_curves, page_plots, plots
from mnistctl.evaluation.detection import NumbersReport, ReadPage
from mnistctl.evaluation.report import Report, measure
from mnistctl.models.predictor import Outputs, PagePredictor, Predictor
from mnistctl.run import run_folder
from mnistctl.run.run_folder import Run
from mnistctl.settings import architectures
from mnistctl.settings.architectures import DIGIT, NUMBERS
from mnistctl.system import files
from mnistctl.types import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_log = logging.getLogger(__name__)

SHOWN = 40  # images on a sheet
PAGES_SHOWN = 24  # pages on a sheet
CURVES = "curves.png"
_LOSSES = {DIGIT: learning_curves.CROSS_ENTROPY, NUMBERS: "loss (per digit)"}  # by task
OVERLAY = run_folder.ROOT / "curves.png"  # the curves of several runs


@dataclass(frozen=True)
class PlotResult(Result):
    """The plots that were drawn."""

    plots: list[str]  # paths of the plots


def plot(
    runs: str | Path | Sequence[str | Path] = (),
    *,
    output: Path | None = None,
    title: str | None = None,
    labels: Sequence[str] = (),
    arch: str | Sequence[str] = (),
    data_dir: Path | None = None,
) -> PlotResult:
    """Overlay the learning curves of several runs, or redraw all plots of one run.

    Args:
        runs: run folders or names of runs; none: the newest run here.
        output: a new file for the learning curves, .png, .svg or .pdf; then nothing else is drawn.
            None: `runs/curves.png` for several runs, else the run folder; both are replaced.
        title: of the learning curves; None: the name of the run, or the number of runs.
        labels: the names of the runs in the plot of the learning curves, one per run; none: their own.
        arch: FILE.py:CLASS, for a run with a custom architecture; one per class.
        data_dir: the data folder; None: the default.

    Raises:
        UsageError: `output` exists or has another suffix, or the number of labels is wrong.
        ModelError: a run was not found, or its metrics cannot be read.
        WriteError: the learning curves cannot be written.
    """
    figures.check_output(output)
    names: list[str | Path | None] = [runs] if isinstance(runs, str | Path) else [*runs]
    run_folders = [_find_run(name) for name in names or [None]]
    if labels and len(labels) != len(run_folders):
        raise UsageError(f"--labels: {len(labels)} for {len(run_folders)} runs; give one per run")
    curves = _curves(run_folders, title=title, labels=labels)
    if output is None and len(run_folders) == 1:
        return PlotResult([str(path) for path in _redraw(run_folders[0], curves, arch, data_dir)])
    figures.save(curves, output or OVERLAY)
    return PlotResult([str(output or OVERLAY)])


def _find_run(name: str | Path | None) -> Run:
    if name is not None and (named := run_folder.find(name)) is not None:
        return named
    path = models.find_model(name)
    run = run_folder.run_of_model(path)
    if run is None:
        raise ModelError(f"{path}: not the model of a run, so there is nothing to draw")
    return run


def _redraw(run: Run, curves: "Figure", arch: str | Sequence[str], data_dir: Path | None) -> list[Path]:
    """Draw a run into its folder; only its curves if its model or its data cannot be opened."""
    paths = _write({run.folder / CURVES: curves})
    try:
        predictor = open_model(run.model_path, arch=arch)
        split = models.load_split(predictor.metadata, "validation", None, data_dir)
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


def open_model(path: Path, *, arch: str | Sequence[str]) -> Predictor | PagePredictor:
    """Open the model of a run, whatever its task.

    Args:
        path: the file.
        arch: FILE.py:CLASS, for a run with a custom architecture; or several of them.
    """
    _, metadata = models.describe(path)
    if metadata.task == NUMBERS:
        return models.open_page_predictor(path)
    return models.open_predictor(path, arch=models.matching_arch(metadata, arch))


def draw_run(
    run: Run, predictor: Predictor | PagePredictor, split: Split, *, folder: Path
) -> list[Path]:
    """Draw the learning curves of a run and its results on the validation images, if it has any.

    Args:
        run: with metrics and a model.
        predictor: the model of the run; a `PagePredictor` for a run of the task "numbers".
        split: the validation images.
        folder: for the plots.
    """
    return _write({folder / CURVES: _curves([run])}) + _draw_validation(run, predictor, split, folder)


def _draw_validation(
    run: Run, predictor: Predictor | PagePredictor, split: Split, folder: Path
) -> list[Path]:
    if not len(split.images):
        return []
    if predictor.metadata.task == NUMBERS:
        numbers_report, pages = detection.measure(
            cast("PagePredictor", predictor), split, model=str(run.folder)
        )
        return draw_pages(folder, numbers_report, pages)
    report, outputs = measure(
        cast("Predictor", predictor), split, model=str(run.folder), batch_size=256
    )
    return draw_results(folder, report, split, outputs)


def draw_pages(
    folder: Path, report: NumbersReport, pages: Sequence[ReadPage], *, prefix: str = ""
) -> list[Path]:
    """Draw what a model for numbers found: confusion matrix, sample pages, and pages with errors.

    An older plot of pages with errors is removed if there are none now.

    Args:
        folder: for the plots; created if necessary.
        report: of the pages.
        pages: one or more.
        prefix: of the file names.
    """
    title = f"{Path(report.dataset).name} {report.split} pages"
    wrong = sorted((page for page in pages if page.mistakes), key=lambda page: -page.mistakes)
    count = f"{len(wrong):,}"
    shown = f"the worst {PAGES_SHOWN} of {count}" if len(wrong) > PAGES_SHOWN else f"all {count}"
    names = [row["label"] for row in report.per_class]
    drawings: dict[str, Figure | None] = {
        "confusion": plots.confusion(
            np.array(report.confusion),
            [*names, detection.NO_DIGIT],
            [*names, detection.MISSED],
            title=f"{title}: accuracy {100 * report.accuracy:.2f}% on {report.digits:,} digits",
        ),
        "predictions": page_plots.sheet(pages[:PAGES_SHOWN], names, title=f"{title}: samples"),
        "mistakes": page_plots.sheet(
            wrong[:PAGES_SHOWN], names, title=f"{title}: with errors ({shown})"
        )
        if wrong
        else None,
    }
    return _write({folder / f"{prefix}{name}.png": figure for name, figure in drawings.items()})


def draw_results(
    folder: Path, report: Report, split: Split, outputs: Outputs, *, prefix: str = ""
) -> list[Path]:
    """Draw a model's results: confusion matrix, samples, mistakes, reliability, and robustness.

    Mistakes are drawn only if there are any, robustness only if the report has it. An older plot of
    mistakes is removed if there are none now.

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

    drawings: dict[str, Figure | None] = {
        "confusion": plots.confusion(
            np.array(report.confusion),
            names,
            title=f"{title}: accuracy {100 * report.accuracy:.2f}% on {report.images:,} images",
        ),
        "predictions": sheet(samples, "sample predictions"),
        "mistakes": sheet(mistakes[:SHOWN], f"mistakes ({shown})") if len(mistakes) else None,
        "reliability": plots.reliability(
            report.reliability,
            title=f"{title}: expected calibration error {100 * report.calibration_error:.2f}%",
        ),
    }
    if report.robustness:
        drawings["robustness"] = plots.robustness(
            report.robustness,
            split.images[samples[0]],
            accuracy=report.accuracy,
            title=f"{title}: accuracy on corrupted images",
        )
    return _write({folder / f"{prefix}{name}.png": figure for name, figure in drawings.items()})


def _mistakes(split: Split, outputs: Outputs) -> npt.NDArray[np.intp]:
    """Indices of the misclassified images; the lowest probability of the true label comes first."""
    wrong = np.flatnonzero(outputs.logits.argmax(axis=1) != split.labels)
    true_probabilities = outputs.probabilities[wrong, split.labels[wrong]]
    return wrong[np.argsort(true_probabilities, kind="stable")]


def _curves(runs: Sequence[Run], *, title: str | None = None, labels: Sequence[str] = ()) -> "Figure":
    names = labels or [run.folder.name for run in runs]
    if title is None:
        title = names[0] if len(runs) == 1 else f"{len(runs)} runs"
    tasks = {architectures.task_of(str(run.read_config().get("arch"))) for run in runs}
    loss = _LOSSES[tasks.pop()] if len(tasks) == 1 else "loss"
    metrics = (run.read_metrics() for run in runs)
    return learning_curves.curves([*zip(names, metrics, strict=True)], title=title, loss=loss)


def _write(drawings: Mapping[Path, "Figure | None"]) -> list[Path]:
    """Write plots and return their paths; None: remove the file.

    A plot that cannot be written is only warned about.
    """
    written = []
    for path, figure in drawings.items():
        try:
            if figure is None:
                files.remove(path)
            else:
                figures.save(figure, path)
                written.append(path)
        except WriteError as error:
            _log.warning(str(error))
    return written
