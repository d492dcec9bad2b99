"""The formats of model files: suffixes, files, runtimes, and how far each may differ from PyTorch.

To add an export format, add a row to `FORMATS` and a module `mnistctl/exports/NAME.py` (with `_` for
`-`) that has a function `build`.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

SAFETENSORS = "safetensors"  # what training writes; every other format is exported from it
ONNX = "onnx"
OPENVINO = "openvino"
HTML = "html"

# Precisions of the weights in a page; float32 is not among them.
INT8, FLOAT16 = "int8", "float16"

# What the input of an exported model can be: its type and shape, and what the values mean.
InputKind = Literal["uint8", "float32"]
UINT8, FLOAT32 = "uint8", "float32"
INPUTS: dict[str, tuple[str, str]] = {
    UINT8: ("uint8 (batch, 28, 28)", "0 = paper, 255 = ink"),
    FLOAT32: ("float32 (batch, 1, 28, 28)", "0 = paper, 1 = ink"),
}
# The same for a model for numbers.
PAGES = (
    "uint8 (batch, height, width)",
    "0 = paper, 255 = ink; height and width are multiples of 16",
)

# Opset -> the oldest IR version (version of the file format) with that opset. Older runtimes read it.
IR_VERSIONS = {18: 8, 19: 9, 20: 9, 21: 10}
OPSET = 18

# Files inside exported folders.
OPENVINO_FILE = "model.xml"
TRITON_FILE = "1/model.onnx"


@dataclass(frozen=True)
class Format:
    """An export format. Limits are checked against PyTorch on all test images."""

    suffix: str  # after the checkpoint's name
    summary: str
    runtime: str  # the package that runs and checks it
    files: tuple[str, ...] = ()  # of a folder: the paths of its files
    max_disagreement: float | None = None  # share of images with another predicted label, in [0, 1]
    max_accuracy_loss: float | None = None  # of an accuracy in [0, 1]
    max_rejections_changed: float = 0.002  # share of images, in [0, 1]; inexact formats only
    precision: str | None = None  # of the weights, for a format that has a choice
    fallback: "Format | None" = None  # the same format in another precision, if the check fails
    prepares_pictures: bool = False  # whether the export has its own preparation, to be checked too
    batch_sizes: tuple[int, ...] = (1, 7, 256)  # images per call in the check
    is_reopened: bool = True  # False: opening a file can run code, so mnistctl opens none
    is_benchmarked: bool = True
    # What to do with the export: commands with its quoted {path}, or Python with {path_literal}.
    usage: tuple[str, ...] = ("mnistctl predict digit.png --model {path}", "mnistctl eval {path}")

    @property
    def is_folder(self) -> bool:
        """Whether the format is a folder, not a file."""
        return bool(self.files)

    @property
    def is_exact(self) -> bool:
        """Whether all outputs equal PyTorch's, apart from float32 rounding."""
        return self.max_disagreement is None and self.max_accuracy_loss is None


FORMATS = {
    ONNX: Format(".onnx", "float32, for onnxruntime and other ONNX runtimes", "onnxruntime"),
    "onnx-fp16": Format("-fp16.onnx", "half the size", "onnxruntime", max_disagreement=0.0001),
    "onnx-int8": Format(
        "-int8.onnx",
        "a quarter of the size, faster in batches",
        "onnxruntime",
        max_accuracy_loss=0.0005,
    ),
    OPENVINO: Format(
        "-openvino", "a folder for OpenVINO", "openvino", files=(OPENVINO_FILE, "model.bin")
    ),
    "torch": Format(
        ".pt2",
        "a torch.export program for PyTorch; opening one can run code",
        "torch",
        is_reopened=False,
        usage=("torch.export.load({path_literal}).module()  # loading can run code from the file",),
    ),
    "triton": Format(
        "-triton",
        "a model repository for Triton",
        "onnxruntime",
        files=("reader/config.pbtxt", f"reader/{TRITON_FILE}"),
        is_benchmarked=False,  # it contains the same file as "onnx"
        usage=("tritonserver --model-repository {path}",),
    ),
}
_HTML_FLOAT16 = Format(
    ".html",
    "a page that reads drawings in any browser, without a server",
    "mini-racer",
    max_disagreement=0.0001,
    precision=FLOAT16,
    prepares_pictures=True,
    batch_sizes=(1,),  # the page reads one image at a time
    is_benchmarked=False,  # mnistctl runs the page's model as ONNX
    usage=("open {path} in a browser", "mnistctl eval {path}"),
)
FORMATS[HTML] = dataclasses.replace(
    _HTML_FLOAT16,
    max_disagreement=None,
    max_accuracy_loss=0.0005,
    precision=INT8,
    fallback=_HTML_FLOAT16,
)
BENCHMARKED = (SAFETENSORS, *(name for name, kind in FORMATS.items() if kind.is_benchmarked))
