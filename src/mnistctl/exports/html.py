"""The format `html`: a page that reads drawings and pictures in a browser, without a server.

The page is checked by V8, which runs the page's own script.
"""

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from mnistctl import web
from mnistctl.errors import MissingExtraError
from mnistctl.evaluation.metrics import wilson_interval
from mnistctl.exports.graph import Source
from mnistctl.models import formats, html_model, html_page, onnx_safety
from mnistctl.models.metadata import Metadata
from mnistctl.models.predictor import Outputs
from mnistctl.types import IMAGE_SIZE, Images

try:
    from py_mini_racer import MiniRacer
except ImportError as error:
    raise MissingExtraError(
        "V8, which checks the page, is not installed; get it with: pip install 'mnistctl[html]'"
    ) from error


class CheckedPage:
    """A page; see `exports.Export`."""

    def __init__(self, page: html_page.HtmlPage) -> None:
        self._page = page

    @property
    def details(self) -> dict[str, Any]:
        """See `exports.Export`."""
        return {"opset": self._page.opset, "precision": self._page.precision}

    def save(self, path: Path, metadata: Metadata) -> None:
        """See `exports.Export`."""
        rows = html_page.describe(metadata) | _check_rows(metadata)
        path.write_bytes(self._page.content(metadata, rows))

    def open(self, path: Path) -> "V8Predictor":
        """See `exports.Export`."""
        return V8Predictor(path)


def build(source: Source) -> CheckedPage:
    """Build the export.

    Raises:
        UsageError: the page cannot run an operator of the net.
    """
    return CheckedPage(html_page.HtmlPage(source.graph, source.precision or formats.INT8))


def _check_rows(metadata: Metadata) -> dict[str, str]:
    """What the page says about its check: headings and texts."""
    check = metadata.export.get("parity")
    if not check:
        return {}
    images, accuracy = check["images"], check["exported_accuracy"]
    low, high = (100 * side for side in wilson_interval(round(accuracy * images), images))
    return {
        "Accuracy": f"{100 * accuracy:.2f}% on {images:,} {check['split']} images of "
        f"{check['dataset']} (95% interval {low:.2f} to {high:.2f}%); "
        f"in PyTorch {100 * check['reference_accuracy']:.2f}%",
        "Differences": f"from PyTorch: {check['disagreements']:,} answers, "
        f"{check['rejections_changed']:,} rejections; weights in {metadata.export['precision']}; "
        f"images of drawings by at most {check['preparation_difference']:.2g} of 255 grey levels",
        "Signature": metadata.export["graph_sha256"][:16],
    }


class V8Predictor:
    """A page whose script V8 runs as a browser would.

    Args:
        path: of the page.

    Raises:
        ModelError: the page is damaged.
    """

    threads = 1  # JavaScript has no more

    def __init__(self, path: Path) -> None:
        model = html_model.read(path)
        checked = onnx_safety.check(html_model.to_onnx(model, path), name=path)
        self.graph_sha256 = checked.graph_sha256
        self.metadata = Metadata.of_export(json.dumps(model.metadata), self.graph_sha256, name=path)
        self._engine = MiniRacer()
        self._engine.eval(web.script_of(path.read_text("utf-8")))
        self._engine.eval(web.module("check"))
        text = json.dumps(msgspec.json.encode(model).decode())
        self._engine.eval(f"const checked = openModel({text}); undefined")

    def __call__(self, images: Images) -> Outputs:
        """See `predictor.Predictor`."""
        encoded = base64.b64encode(np.ascontiguousarray(images).tobytes()).decode()
        rows = self._run(f"runImages(checked, {json.dumps(encoded)})")
        return Outputs(
            *(np.array([row[name] for row in rows], dtype=np.float32) for name in Outputs._fields)
        )

    def prepare(self, drawing: Images) -> Images:
        """The image, uint8 (28, 28), of a grey picture, uint8 (H, W), as the page prepares it."""
        encoded = base64.b64encode(drawing.tobytes()).decode()
        pixels = self._run(f"prepareGrey({json.dumps(encoded)}, {drawing.shape[1]})")
        return np.array(pixels, dtype=np.uint8).reshape(IMAGE_SIZE, IMAGE_SIZE)

    def _run(self, expression: str) -> Any:
        return json.loads(str(self._engine.eval(f"JSON.stringify({expression})")))
