"""The processes of a group that do not lead it: they do their part, and write and show nothing."""

from pathlib import Path

from mnistctl.api.training import preparing, resume, run_settings, session
from mnistctl.errors import DataError
from mnistctl.run import run_folder, tracking
from mnistctl.settings.train_settings import TrainSettings
from mnistctl.system import signals, torchrun

STARTED, RESUMED, FINISHED = "begun", "goes-on", "finished"


def tell_others(run: run_folder.Run, state: str, *, data_sha256: str = "") -> None:
    """Tell the processes that wait in `follow` which run it is, and on what data."""
    if torchrun.processes() > 1:
        from mnistctl.nn import distributed

        distributed.join().share(f"{state} {data_sha256} {run.folder}")


def follow(data_dir: Path | None) -> run_folder.Run:
    """What any process but the first does: its part of every step, of the run that the first leads.

    Returns:
        The run, when it is finished.

    Raises:
        DataError: the data are not those of the first process.
        LostProcessError: another process has ended.
        InterruptedRunError: Ctrl-C or SIGTERM, here or there.
    """
    from mnistctl.nn import devices, distributed

    group = distributed.join()
    state, data_sha256, folder = group.share().split(" ", maxsplit=2)
    run = run_folder.Run(Path(folder))
    if state == FINISHED:
        return run
    with signals.deferred() as interrupt:
        config = TrainSettings(**run.read_config())
        place = devices.resolve(config.device)
        saved = resume.load(run) if state == RESUMED else None
        opened = None if saved else run_settings.open_begun(config)
        train_split, validation_split = preparing.load(config, data_dir)
        if train_split.sha256 != data_sha256:
            raise DataError(
                f"the data of '{config.dataset}' are not the same in all processes: SHA-256 "
                f"{train_split.sha256[:12]}… and {data_sha256[:12]}…"
            )
        net = preparing.build_net(config, opened, train_split.class_names).to(place)
        job = session.Job(
            *(run, config, train_split, validation_split, place, group),
            *(interrupt, tracking.Tracker()),
            saved=saved,
        )
        last, best = session.fit(net, job)
        if job.is_told_to_stop():
            raise session.interrupted(run, last, best, interrupt)
        group.share()  # when the first has written what it came to
        return run
