"""The processes of a group other than the leader: they train with it, but write and show nothing."""

from pathlib import Path

from mnistctl.api.training import loop, run_settings, state_file
from mnistctl.api.training.session import Session, build_net, load_splits
from mnistctl.errors import DataError
from mnistctl.run.run_folder import Run
from mnistctl.system import signals, torchrun

STARTED, RESUMED, FINISHED = "started", "resumed", "finished"


def announce(run: Run, event: str, *, data_sha256: str = "") -> None:
    """Tell the processes that wait in `follow` which run to train, and on what data."""
    if torchrun.processes() > 1:
        from mnistctl.nn import distributed

        distributed.join_process_group().broadcast(f"{event} {data_sha256} {run.folder}")


def follow(data_dir: Path | None) -> Run:
    """Wait for the leader's announcement, and train its run together with it.

    Returns:
        The run, once it is finished.

    Raises:
        DataError: the data differs from the leader's.
        LostProcessError: another process has ended.
        InterruptedRunError: a signal has reached one of the processes.
    """
    from mnistctl.nn import devices, distributed

    group = distributed.join_process_group()
    event, data_sha256, folder = group.broadcast().split(" ", maxsplit=2)
    run = Run(Path(folder))
    if event == FINISHED:
        return run
    with signals.deferred() as interrupt:
        settings = run.read_settings()
        device = devices.resolve(settings.device)
        saved = state_file.load(run) if event == RESUMED else None
        initial_model = run_settings.reopen_initial_model(settings, is_resumed=saved is not None)
        train, validation = load_splits(settings, initial_model, data_dir)
        if train.all_sha256 != data_sha256:
            raise DataError(
                f"the data of '{settings.dataset}' is not the same in all processes: SHA-256 "
                f"{train.all_sha256[:12]}…, expected {data_sha256[:12]}…"
            )
        net = build_net(settings, initial_model, train.class_names).to(device)
        loop.fit(Session(run, settings, train, validation, net, device, group, interrupt, saved))
        group.broadcast()  # waits until the leader has written the result
        return run
