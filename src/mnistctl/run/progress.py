"""How the verbs tell whoever watches what they are doing; a face overrides what it shows."""

from mnistctl.run.epoch import Epoch


class Watcher:
    """Hears of everything and shows nothing."""

    def note(self, message: str) -> None:
        """Something worth a line."""

    def warn(self, message: str) -> None:
        """Something worth a line that stands out."""

    def download(self, file: str, received: int, total: int | None) -> None:
        """Bytes of a file that have arrived, of how many if that is known."""

    def progress(self, what: str, done: int, total: int) -> None:
        """So many parts of something long are done."""

    def training(self, images: int) -> None:
        """Training begins, and will see so many images in all."""

    def step(self, images: int) -> None:
        """So many images have been seen."""

    def epoch(self, epoch: Epoch, *, best: bool) -> None:
        """An epoch is over; `best` says that its model was kept."""


SILENT = Watcher()
