"""The live display on stderr while a command works."""

import contextlib
import logging
from collections.abc import Iterator

from mnistctl.cli import render
from mnistctl.run import progress
from mnistctl.system import torchrun


@contextlib.contextmanager
def live(*, quiet: bool, bars: bool = True) -> Iterator[None]:
    """Show messages and progress while a command works.

    If torchrun started several processes, only the first one shows anything.

    Args:
        quiet: show only warnings.
        bars: show progress bars too.
    """
    from mnistctl.cli.progress_bars import Display, MessageHandler  # 20 ms

    console = render.console(stderr=True)
    display = Display(console)
    messages = MessageHandler(console, display)
    logger = logging.getLogger("mnistctl")
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    is_leader = torchrun.is_leader()
    if is_leader:
        logger.addHandler(messages)
    reporter = display if bars and not quiet and is_leader else progress.Progress()
    try:
        with display, progress.shown_by(reporter):
            yield
    finally:
        logger.removeHandler(messages)
        logger.setLevel(logging.NOTSET)
