"""`mnistctl tune`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from mnistctl.cli import display, render
from mnistctl.cli.options import DataDirOption, JsonOption, NoPlotsOption, QuietOption
from mnistctl.cli.train_options import ArchArgumentOption, parse_arguments, with_settings
from mnistctl.cli.tune_display import StudyDisplay, trial_table
from mnistctl.errors import UsageError
from mnistctl.settings.architectures import NUMBERS, Architecture, task_of

if TYPE_CHECKING:
    from mnistctl.tuning.result import TuneResult

_MAX_SHOWN = 10  # trials, after a search


@with_settings("Search", settings_first=False)
def tune(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="STUDY",
            help="Name of the study, and of its folder in runs/. If the study exists, this process "
            "joins it.",
            show_default="DATASET-RECIPE-study-NUMBER",
        ),
    ] = None,
    *,
    search: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUES",
            help="Setting to search: LOW..HIGH, LOW..HIGH:log, LOW..HIGH:STEP, or a list A,B,C. Sizes "
            "of several layers are joined by hyphens: hidden=64,256-128. Can be repeated.",
            show_default="the space of the architecture",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of trials of the whole study.",
            show_default="20, or no limit with --minutes",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Stop the search N minutes after the start of this command. The confirmation follows.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of trials at a time on this machine, 1 to 64. They share the cores.",
            show_default="one per core, at most 8; 1 on a GPU",
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How settings are chosen: tpe, which is the default, gp, cmaes, qmc, random or grid.",
        ),
    ] = None,
    pruner: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="How unpromising trials are stopped early: median, hyperband, wilcoxon or none.",
            show_default="median; wilcoxon with --seeds; none with several objectives",
        ),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="What to optimise: accuracy and loss on the validation images, parameters, "
            "multiply_adds, train_seconds. Several, separated by commas, give a Pareto front.",
            show_default="accuracy",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of runs per trial, with consecutive seeds, 1 to 100. A trial counts as their "
            "mean.",
            show_default="1",
        ),
    ] = None,
    confirm: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of runs that confirm the best settings with new seeds on another split, 0 to "
            "100. They alone are evaluated on the test set.",
            show_default="3",
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="TRIALS",
            help="Trials whose weights are kept: best or all.",
            show_default="best",
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="MNISTCTL_STORAGE",
            help="PostgreSQL database for a search on several machines: postgresql://USER@HOST/DATABASE.",
            show_default="a file in the study's folder",
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="STUDY",
            help="Name of a study to continue. --trials sets a new total number of trials.",
        ),
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Show the study, without running any trial.")
    ] = False,
    no_plots: NoPlotsOption = False,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Settings file: TOML, which may have a table 'search', or the config.json of a run.",
        ),
    ] = None,
    arch_arg: ArchArgumentOption = None,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
    as_json_lines: Annotated[
        bool,
        typer.Option("--jsonl", help="Print each finished trial as a line of JSON at once."),
    ] = False,
    quiet: QuietOption = False,
    **settings: Any,
) -> None:
    """Search for good settings.

    Each trial is a run in runs/STUDY, judged by validation images. In the end the best settings are
    trained again with new seeds on another train/validation split, and evaluated on the test set. A
    search that is interrupted can be resumed, and so can each of its runs.

    The options below the panel Search hold for all trials; see 'mnistctl train --help'.
    """
    import mnistctl

    if as_json and as_json_lines:
        raise UsageError("--json and --jsonl: choose one")
    if show:
        if study is None:
            raise UsageError("--show: name the study, as in: mnistctl tune STUDY --show")
        result = mnistctl.read_study(study, storage=storage)
        render.show(result, _render_all, as_json=as_json or as_json_lines)
        return
    with display.live(quiet=quiet), StudyDisplay(quiet=quiet, as_json_lines=as_json_lines) as screen:
        result = mnistctl.tune(
            study=study,
            resume=resume,
            search=search or (),
            trials=trials,
            minutes=minutes,
            workers=workers,
            sampler=sampler,
            pruner=pruner,
            objective=objective,
            seeds=seeds,
            confirm=confirm,
            keep=keep,
            storage=storage,
            plots=not no_plots,
            config=config,
            arch_args=parse_arguments(arch_arg),
            data_dir=data_dir,
            on_change=screen.update,
            **settings,
        )
    if not as_json_lines:
        render.show(result, _render_best, as_json=as_json, quiet=quiet)


def _render_all(result: "TuneResult") -> Iterator[RenderableType]:
    """The whole study."""
    yield trial_table(result, result.trials)
    yield from _summary(result)


def _render_best(result: "TuneResult") -> Iterator[RenderableType]:
    """The best trials, and how well the best settings do on other images."""
    ranked = sorted(result.trials, key=lambda trial: _rank(result, trial))
    shown = [trial for trial in ranked if trial.objectives][:_MAX_SHOWN]
    yield trial_table(result, shown)
    yield from _summary(result)
    yield from _next_commands(result)


def _rank(result: "TuneResult", trial: Any) -> tuple[bool, float, float]:
    value = trial.objectives.get(result.objectives[0], 0.0)
    value = -value if result.objectives[0] == "accuracy" else value
    return trial.number != result.best, value, trial.validation_loss or 0.0


def _summary(result: "TuneResult") -> Iterator[RenderableType]:
    counts = {
        state: sum(trial.state == state for trial in result.trials)
        for state in ("complete", "pruned", "failed", "running", "interrupted")
    }
    parts = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    yield f"\n{len(result.trials)} trials: {parts or 'none'}"
    best = result.best_trial
    if best is None:
        return
    yield f"best trial: {best.number}, validation accuracy {render.percent(best.validation_accuracy)}"
    if len(result.objectives) > 1:
        numbers = ", ".join(map(str, result.front))
        yield f"Pareto front of {', '.join(result.objectives)}: trials {numbers}"
    yield from _confirmation(result)
    yield Text.assemble("saved in ", (result.folder, "bold"))
    if result.plots:
        yield f"plots: {', '.join(Path(path).name for path in result.plots)}"


def _confirmation(result: "TuneResult") -> Iterator[RenderableType]:
    count = len(result.confirmations)
    if not count:
        return
    deviation = "" if result.confirmed_std is None else f" ± {100 * result.confirmed_std:.2f}"
    runs = "run" if count == 1 else "runs"
    yield (
        f"confirmed by {count} {runs} with new seeds on another split: validation accuracy "
        f"{render.percent(result.confirmed_accuracy)}{deviation}"
    )
    difference = 100 * (result.confirmed_difference or 0)
    if difference < 0:
        yield (
            f"  {-difference:.2f} points below the best trial, which was chosen for its accuracy and "
            "owes part of it to chance"
        )
    else:
        yield f"  {difference:.2f} points above the best trial, on other images and with other seeds"
    if result.test_accuracy is not None:
        yield f"  test accuracy {render.percent(result.test_accuracy)}"


def _next_commands(result: "TuneResult") -> Iterator[str]:
    arch = f" --arch {render.quoted(result.arch)}" if Architecture.parse(result.arch).is_custom else ""
    yield render.NEXT
    yield f"  mnistctl train --config {render.quoted(result.config)}{arch}"
    if result.confirmations:
        run = render.quoted(result.confirmations[0].run)
        yield f"  mnistctl eval {run}{arch}"
        if task_of(result.arch) != NUMBERS:
            yield f"  mnistctl predict digit.png --model {run}{arch}"
        yield f"  mnistctl export {run}{arch}"
