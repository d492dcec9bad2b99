"""Model files from other people: their metadata and tensors are checked before anything is computed."""

import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import save as to_safetensors

from mnistctl.api import models
from mnistctl.errors import ModelError
from mnistctl.models import hashed_safetensors
from mnistctl.models.metadata import KEY
from mnistctl.models.predictor import interpret, predict_all
from mnistctl.types import Images
from tests.attacks.attack import attack

BUNDLED = models.bundled("safetensors")
HUGE = 10**300


def nest(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def members(levels: int) -> list[Any]:
    """An ensemble of ensembles."""
    values = hashed_safetensors.load(BUNDLED).values
    for _ in range(levels):
        values = values | {"members": [values]}
    return [values]


METADATA: dict[str, dict[str, Any]] = {
    "temperature huge": {"temperature": HUGE},
    "temperature infinite": {"temperature": float("inf")},
    "temperature NaN": {"temperature": float("nan")},
    "temperature tiny": {"temperature": 1e-300},
    "temperature negative": {"temperature": -1},
    "temperature text": {"temperature": "1"},
    "threshold huge": {"threshold": HUGE},
    "threshold of 2": {"threshold": 2},
    "threshold NaN": {"threshold": float("nan")},
    "parameters huge": {"parameters": HUGE},
    "parameters negative": {"parameters": -1},
    "parameters null": {"parameters": None},
    "calibration images huge": {"calibration_images": HUGE},
    "metrics huge": {"metrics": {"validation_accuracy": HUGE}},
    "metrics of text": {"metrics": {"validation_accuracy": "1"}},
    "metrics with a long name": {"metrics": {"x" * 100_000: 1}},
    "class names long": {"class_names": ["x" * 100_000, *"123456789"]},
    "class names of two lines": {"class_names": ["a\nb", *"123456789"]},
    "class names with an escape sequence": {"class_names": ["\x1b[31m", *"123456789"]},
    "class names with a surrogate": {"class_names": ["\ud800", *"123456789"]},
    "class names empty": {"class_names": ["", *"123456789"]},
    "class names many": {"class_names": list(map(str, range(100_000)))},
    "class names null": {"class_names": None},
    "dataset long": {"dataset": {"name": "a" * 100_000, "sha256": ""}},
    "dataset with a surrogate": {"dataset": {"name": "\ud800", "sha256": ""}},
    "dataset with a zero byte": {"dataset": {"name": "a\0b", "sha256": ""}},
    "dataset a list": {"dataset": ["mnist"]},
    "arch long": {"arch": "a" * 100_000},
    "arch empty": {"arch": ""},
    "arch a number": {"arch": 5},
    "arch arguments deep": {"arch_args": {"hidden": nest(300)}},
    "config deep": {"config": {"more": nest(300)}},
    "config deep enough for a stack overflow": {"config": {"more": nest(900)}},
    "seed huge": {"config": {"seed": HUGE}},
    "subset of 0": {"config": {"subset": 0}},
    "validation size negative": {"config": {"validation_size": -5}},
    "split seed text": {"config": {"split_seed": "x"}},
    "members deep": {"members": members(60)},
    "members with other classes": {"members": [members(0)[0] | {"class_names": ["a", "b"]}]},
    "members null": {"members": [None]},
    "members without fields": {"members": [{"format_version": 4}]},
    "members many": {"members": members(0) * 1_001},
    "familiarity layers twice": {"familiarity_layers": ["5", "5"]},
    "familiarity layers many": {"familiarity_layers": list(map(str, range(5_000)))},
    "familiarity layers empty": {"familiarity_layers": [""]},
    "card long": {"card": "x" * (2 << 20)},
    "card with escape sequences": {"card": "\x1b]0;owned\x07"},
    "versions deep": {"versions": {"torch": {"a": 1}}},
    "created null": {"created": None},
    "export parity deep": {"export": {"parity": nest(100)}},
    "export parity huge": {
        "export": {"parity": {"images": HUGE, "disagreements": 0, "dataset": "", "split": "a"}}
    },
    "format version text": {"format_version": "4"},
    "format version huge": {"format_version": HUGE},
}


@pytest.mark.parametrize("kind", ["safetensors", "onnx"])
@pytest.mark.parametrize("name", METADATA)
def test_metadata_out_of_range_are_rejected_in_one_line(name: str, kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"model.{kind}"
    if kind == "safetensors":
        values, tensors, _ = hashed_safetensors.load(BUNDLED)
        hashed_safetensors.save(path, tensors, values | METADATA[name])
    else:
        model = onnx.load(models.bundled("onnx"))
        values = json.loads(model.metadata_props[0].value) | METADATA[name]
        model.metadata_props[0].value = json.dumps(values)
        path.write_bytes(model.SerializeToString())

    with pytest.raises(ModelError) as error:
        models.describe(path)

    assert str(error.value).startswith(f"{path}: ")
    assert len(str(error.value).replace(str(path), "")) < 500
    assert "\n" not in str(error.value)


def tensors_of(**changes: Any) -> dict[str, Any]:
    """The bundled tensors; a change maps the end of a name to a function of the tensor."""
    tensors = dict(hashed_safetensors.load(BUNDLED).tensors)
    for ending, change in changes.items():
        for name in tensors:
            if name.endswith(ending):
                tensors[name] = np.asarray(change(tensors[name]), dtype=tensors[name].dtype)
    return tensors


TENSORS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "negative variance": (tensors_of(running_var=lambda tensor: -abs(tensor) - 1), {}),
    "huge weights": (tensors_of(weight=lambda tensor: np.full_like(tensor, 1e38)), {}),
    "huge biases": (tensors_of(bias=lambda tensor: np.full_like(tensor, 3e38)), {}),
    "infinite weights": (tensors_of(weight=lambda tensor: np.full_like(tensor, np.inf)), {}),
    "no layers for the familiarity": (tensors_of(), {"familiarity_layers": []}),
    "another layer for the familiarity": (tensors_of(), {"familiarity_layers": ["0"]}),
    "layers in another order": (tensors_of(), {"familiarity_layers": ["14", "5"]}),
    "a layer that does not exist": (tensors_of(), {"familiarity_layers": ["nowhere"]}),
    "a net of 200 layers": (tensors_of(), {"arch": "mlp", "arch_args": {"hidden": [8] * 200}}),
    "a net of a million layers": (tensors_of(), {"arch": "mlp", "arch_args": {"hidden": [8] * 10**6}}),
    "a net of a terabyte": (tensors_of(), {"arch": "mlp", "arch_args": {"hidden": [8192] * 90}}),
    "arguments of the wrong type": (tensors_of(), {"arch_args": {"widths": {"a": 1}}}),
    "arguments that are null": (tensors_of(), {"arch_args": {"widths": None}}),
    "twenty classes": (tensors_of(), {"class_names": list(map(str, range(20)))}),
}


def answer(path: Path, images: Images) -> None:
    predictor = models.open_predictor(path)
    outputs = predict_all(predictor, images, batch_size=3)
    interpret(images, outputs, predictor.metadata.class_names, top=1, threshold=0.5)


@pytest.mark.parametrize("name", TENSORS)
def test_a_checkpoint_that_cannot_answer_is_rejected_in_one_line(name: str, tmp_path: Path) -> None:
    tensors, changes = TENSORS[name]
    path = tmp_path / "model.safetensors"
    hashed_safetensors.save(path, tensors, hashed_safetensors.load(BUNDLED).values | changes)
    images = np.full((3, 28, 28), 200, dtype=np.uint8)

    with pytest.raises(ModelError) as error:
        answer(path, images)

    assert "\n" not in str(error.value)


def sparse(path: Path, size: int, beginning: bytes = b"") -> None:
    with path.open("wb") as file:
        file.write(beginning)
        file.truncate(size)


def sparse_checkpoint(path: Path) -> None:
    sparse(path, 30 << 30, b"\x08\0\0\0\0\0\0\0{")


def sparse_valid_checkpoint(path: Path) -> None:
    size = 30 << 30
    header = json.dumps(
        {"weight": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    ).encode()
    sparse(path, size + 8 + len(header), struct.pack("<Q", len(header)) + header)


def sparse_onnx(path: Path) -> None:
    sparse(path, 1_900_000_000, models.bundled("onnx").read_bytes())


def sparse_onnx_weights(path: Path) -> None:
    """A valid file: a model with one field of 1.9 GB."""
    size = 1_900_000_000
    field, left = b"", size
    while left:
        field, left = field + bytes([left & 127 | 128 * (left > 127)]), left >> 7
    sparse(path, 3 + len(field) + size, b"\x08\x08\x3a" + field)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def waiting(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def deep_header(path: Path) -> None:
    header = b'{"__metadata__":' + b"[" * 2_000 + b"]" * 2_000 + b"}"
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def many_tensors(path: Path) -> None:
    tensor = np.zeros(1, dtype=np.uint8)
    path.write_bytes(to_safetensors({str(number): tensor for number in range(50_000)}, {KEY: "{}"}))


FILES = {
    "a sparse checkpoint": ("model.safetensors", sparse_checkpoint),
    "a sparse checkpoint with a header": ("model.safetensors", sparse_valid_checkpoint),
    "a sparse ONNX file": ("model.onnx", sparse_onnx),
    "an ONNX file of 1.9 GB": ("model.onnx", sparse_onnx_weights),
    "an endless file": ("model.onnx", endless),
    "a pipe": ("model.safetensors", waiting),
    "a folder": ("model.onnx", a_folder),
    "a deep header": ("model.safetensors", deep_header),
    "many tensors": ("model.safetensors", many_tensors),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_model_is_rejected_in_one_line(name: str, tmp_path: Path) -> None:
    file, make = FILES[name]
    make(tmp_path / file)

    attack("info", file, folder=tmp_path).check_failed(4, file)


@pytest.mark.parametrize("command", ["info", "eval"])
@pytest.mark.parametrize("name", ["a" * 300, "a" * 100_000, "a/" * 10_000, "\x1b[31m"])
def test_a_name_that_no_file_can_have_is_rejected_in_one_line(
    command: str, name: str, tmp_path: Path
) -> None:
    attack(command, name, folder=tmp_path).check_failed(4)


def test_a_hostile_checkpoint_does_not_hang_the_annotation(tmp_path: Path) -> None:
    values, tensors, _ = hashed_safetensors.load(BUNDLED)
    names = ["x" * 255, *"123456789"]
    hashed_safetensors.save(tmp_path / "long.safetensors", tensors, values | {"class_names": names})
    shutil.copy(BUNDLED.with_name("example.png"), tmp_path)

    attack(
        *("predict", "example.png", "--model", "long.safetensors", "--annotate", "marked.png"),
        folder=tmp_path,
        cpu_s=30,
    ).check_survived()
