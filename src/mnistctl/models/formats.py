"""The formats that a model can be had in: names, files and what each may lose."""

from dataclasses import dataclass

SAFETENSORS = "safetensors"  # what training writes; all others are exported from it
ONNX = "onnx"
OPENVINO = "openvino"

# How a consumer feeds an exported model: the contract of all readers, or the classic one.
UINT8, FLOAT32 = "uint8", "float32"
INPUTS = {  # its type and shape, and what the values mean
    UINT8: ("uint8 (batch, 28, 28)", "0 = paper, 255 = ink"),
    FLOAT32: ("float32 (batch, 1, 28, 28)", "0 = paper, 1 = ink"),
}

# Opset -> the oldest version of the file format that has it, for the oldest runtimes that know it.
IR_VERSIONS = {18: 8, 19: 9, 20: 9, 21: 10}
OPSET = 18

# Inside the folders.
OPENVINO_FILE = "model.xml"
TRITON_FILE = "1/model.onnx"


@dataclass(frozen=True)
class Format:
    """What an export is."""

    suffix: str  # after the checkpoint's name
    summary: str
    runtime: str  # what runs it, and checks it
    files: tuple[str, ...] = ()  # of a folder: what lies in it
    max_disagreement: float | None = None  # share of the images whose answer may be another
    max_accuracy_loss: float | None = None  # of an accuracy in [0, 1]
    max_rejections_changed: float = 0.002  # share of the images; of an inexact one

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder and not a file."""
        return bool(self.files)

    @property
    def is_exact(self) -> bool:
        """Whether all its outputs are PyTorch's, but for the rounding of float32."""
        return self.max_disagreement is None and self.max_accuracy_loss is None


FORMATS = {
    ONNX: Format(".onnx", "float32, for onnxruntime and all that read ONNX", "onnxruntime"),
    "onnx-fp16": Format("-fp16.onnx", "half the size", "onnxruntime", max_disagreement=0.0001),
    "onnx-int8": Format(
        "-int8.onnx",
        "a quarter of the size, quicker in batches",
        "onnxruntime",
        max_accuracy_loss=0.0005,
    ),
    OPENVINO: Format(
        "-openvino", "a folder for OpenVINO", "openvino", files=(OPENVINO_FILE, "model.bin")
    ),
    "torch": Format(".pt2", "a torch.export program, for PyTorch; opening one can run code", "torch"),
    "triton": Format(
        "-triton",
        "a model repository for Triton",
        "onnxruntime",
        files=("reader/config.pbtxt", f"reader/{TRITON_FILE}"),
    ),
}
# What `benchmark` measures: Triton's folder holds the very file of "onnx".
BENCHMARKED = (SAFETENSORS, *(name for name in FORMATS if name != "triton"))
