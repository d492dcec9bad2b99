import json
import pickle  # noqa: TID251 - writes a file that is rejected
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as from_safetensors
from safetensors.numpy import save as to_safetensors

from mnistctl.api import models
from mnistctl.errors import ModelError
from mnistctl.models import checkpoint, hashed_safetensors
from mnistctl.models.metadata import FORMAT_VERSION, KEY


def test_a_checkpoint_survives_a_round_trip(checkpoint_path: Path, tmp_path: Path) -> None:
    before = checkpoint.load(checkpoint_path)

    checkpoint.save(tmp_path / "again.safetensors", before.tensors, before.metadata)

    after = checkpoint.load(tmp_path / "again.safetensors")
    assert after.metadata == before.metadata
    assert after.sha256 == before.sha256
    assert all((after.tensors[name] == before.tensors[name]).all() for name in before.tensors)


def test_a_checkpoint_records_dataset_settings_versions_and_metrics(checkpoint_path: Path) -> None:
    metadata = checkpoint.load(checkpoint_path).metadata

    assert metadata.dataset["name"] == "digits"
    assert metadata.class_names == list("0123456789")
    assert metadata.config["batch_size"] == 64
    assert set(metadata.versions) == {"mnistctl", "torch", "numpy", "python"}
    assert 0 < (metadata.metrics["validation_accuracy"] or 0) <= 1


def header_of(content: bytes) -> tuple[dict[str, Any], bytes]:
    size = struct.unpack_from("<Q", content)[0]
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def with_header(content: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    header, body = header_of(content)
    change(header)
    packed = json.dumps(header).encode()
    return struct.pack("<Q", len(packed)) + packed + body


def rehashed(content: bytes, **changes: Any) -> bytes:
    """A checkpoint with changed metadata and a matching SHA-256, as another program may write it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(content)
        values, tensors, _ = hashed_safetensors.load(path)
        hashed_safetensors.save(path, tensors, {**values, **changes})
        return path.read_bytes()


def with_metadata(content: bytes, **changes: Any) -> bytes:
    def change(header: dict[str, Any]) -> None:
        entry = json.loads(header["__metadata__"][KEY])
        header["__metadata__"][KEY] = json.dumps({**entry, **changes})

    return with_header(content, change)


def flipped(content: bytes, position: int) -> bytes:
    changed = bytearray(content)
    changed[position] ^= 1
    return bytes(changed)


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda content: b"", "an empty file"),
    "one byte": (lambda content: content[:1], "not a safetensors, ONNX or OpenVINO file|incomplete"),
    "the first byte of an ONNX file": (
        lambda content: b"\x08",
        "not a safetensors, ONNX or OpenVINO file",
    ),
    "cut in the header": (lambda content: content[:100], "incomplete safetensors file"),
    "cut in the weights": (lambda content: content[:-1], "damaged"),
    "longer": (lambda content: content + b"\0", "damaged"),
    "a web page": (lambda content: b"<!DOCTYPE html><html>404</html>", "an HTML page"),
    "a pickle": (lambda content: pickle.dumps({"weights": [1.0]}), "a pickle or PyTorch archive"),
    "a text": (
        lambda content: b"hello, this is not a model",
        "not a safetensors, ONNX or OpenVINO file",
    ),
    "a flipped bit in a weight": (lambda content: flipped(content, -5_000), "its SHA-256 is not"),
    "a giant header": (
        lambda content: struct.pack("<Q", 2**60) + content[8:],
        "incomplete safetensors file",
    ),
    "a header that is not JSON": (lambda content: content[:8] + b"{" * (len(content) - 8), "damaged"),
    "deep JSON": (
        lambda content: struct.pack("<Q", 100_001) + b"{" + b"[" * 100_000,
        "damaged safetensors header",
    ),
    "a file of another program": (
        lambda content: to_safetensors({"weight": np.ones(3, np.float32)}),
        "not written by mnistctl",
    ),
    "another format version": (
        lambda content: rehashed(content, format_version=99),
        f"format version 99; this mnistctl reads version {FORMAT_VERSION}",
    ),
    "changed metadata": (
        lambda content: with_metadata(content, created="yesterday"),
        "its SHA-256 is not",
    ),
    "a missing field": (
        lambda content: rehashed(content, class_names=None),
        "missing, unknown or wrong: class_names",
    ),
    "an unknown field": (lambda content: rehashed(content, more=1), "wrong: more"),
    "no temperature": (lambda content: rehashed(content, temperature=0), "temperature"),
    "a validation size that is not a number": (
        lambda content: rehashed(content, config={"validation_size": "many"}),
        "wrong: config",
    ),
    "one class": (lambda content: rehashed(content, class_names=["0"]), "class_names"),
    "class names that are not text": (
        lambda content: rehashed(content, class_names=[0, 1]),
        "class_names",
    ),
    "a dataset without its hash": (lambda content: rehashed(content, dataset={"name": "x"}), "dataset"),
    "metrics that are not numbers": (lambda content: rehashed(content, metrics={"a": "b"}), "metrics"),
    "parameters that are not a number": (
        lambda content: rehashed(content, parameters="1"),
        "parameters",
    ),
    "a threshold that is not a number": (lambda content: rehashed(content, threshold="1"), "threshold"),
    "true for a number": (lambda content: rehashed(content, parameters=True), "parameters"),
    "members without metadata": (
        lambda content: rehashed(content, members=[{}]),
        "format version None",
    ),
    "familiarity layers that are not text": (
        lambda content: rehashed(content, familiarity_layers=[1]),
        "familiarity_layers",
    ),
    "an unknown net": (lambda content: rehashed(content, arch="nothing"), "cannot be built"),
    "another net": (lambda content: rehashed(content, arch="linear", arch_args={}), "cannot be built"),
    "arguments that the net does not have": (
        lambda content: rehashed(content, arch_args={"a": 1}),
        "cannot be built",
    ),
    "a custom architecture": (lambda content: rehashed(content, arch="own.py:Net"), "runs no code"),
    "more classes than weights": (
        lambda content: rehashed(content, class_names=list("0123456789a")),
        "weights do not match",
    ),
    "metadata that is a list": (
        lambda content: with_header(content, lambda header: header["__metadata__"].update({KEY: "[]"})),
        "its metadata cannot be read",
    ),
    "metadata that is not JSON": (
        lambda content: with_header(content, lambda header: header["__metadata__"].update({KEY: "{"})),
        "its metadata cannot be read",
    ),
    "no metadata": (
        lambda content: with_header(content, lambda header: header.pop("__metadata__")),
        "not written by mnistctl",
    ),
    "no hash": (
        lambda content: with_header(
            content, lambda header: header["__metadata__"].update({KEY: '{"arch": "cnn"}'})
        ),
        "not written by mnistctl",
    ),
    "a header that is a list": (
        lambda content: struct.pack("<Q", 2) + b"[]",
        "not a safetensors|damaged safetensors header",
    ),
    "a header longer than the file": (
        lambda content: struct.pack("<Q", len(content)) + content[8:],
        "incomplete safetensors file",
    ),
    "a header of no length": (lambda content: bytes(8) + content[8:], "incomplete safetensors file"),
    "a tensor missing": (lambda content: with_tensors(content, drop=True), "its SHA-256 is not"),
    "a tensor of another type": (
        lambda content: with_header(content, lambda header: first(header).update(dtype="I32")),
        "its SHA-256 is not|damaged",
    ),
    "a tensor of an unknown type": (
        lambda content: with_header(content, lambda header: first(header).update(dtype="X9")),
        "damaged",
    ),
    "a tensor of another shape": (
        lambda content: with_header(content, lambda header: first(header).update(shape=[1])),
        "damaged",
    ),
    "a tensor that overlaps another": (
        lambda content: with_header(content, lambda header: first(header).update(data_offsets=[0, 4])),
        "damaged",
    ),
    "a tensor beyond the end": (
        lambda content: with_header(
            content, lambda header: first(header).update(data_offsets=[0, 2**40])
        ),
        "damaged",
    ),
    "a tensor renamed": (lambda content: with_header(content, rename), "its SHA-256 is not"),
    "two files in one": (lambda content: content + content, "damaged"),
}


def first(header: dict[str, Any]) -> dict[str, Any]:
    """The header entry of a tensor."""
    return next(entry for name, entry in header.items() if name != "__metadata__")


def rename(header: dict[str, Any]) -> None:
    name = next(name for name in header if name != "__metadata__")
    header[f"{name}2"] = header.pop(name)


def with_tensors(content: bytes, *, drop: bool) -> bytes:
    header, _ = header_of(content)
    tensors = dict(from_safetensors(content))
    if drop:
        tensors.pop(next(iter(tensors)))
    return to_safetensors(tensors, metadata=header["__metadata__"])


@pytest.fixture
def tiny(checkpoint_path: Path, tmp_path: Path) -> bytes:
    """A checkpoint of a few bytes."""
    metadata = checkpoint.load(checkpoint_path).metadata
    path = tmp_path / "tiny.safetensors"
    checkpoint.save(path, {"weight": np.arange(6, dtype=np.float32)}, metadata)
    return path.read_bytes()


def test_every_truncated_checkpoint_is_rejected(tiny: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    for length in range(len(tiny)):
        path.write_bytes(tiny[:length])
        with pytest.raises(ModelError):
            checkpoint.load(path)


def test_every_flipped_bit_is_detected(tiny: bytes, tmp_path: Path) -> None:
    path = tmp_path / "flipped.safetensors"
    accepted = []
    for bit in range(8 * len(tiny)):
        changed = bytearray(tiny)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            checkpoint.load(path)
        except ModelError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            accepted.append(bit)
    assert not accepted


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_rejected_in_one_line(
    damage: str, checkpoint_path: Path, tmp_path: Path
) -> None:
    apply, message = DAMAGES[damage]
    path = tmp_path / "model.safetensors"
    path.write_bytes(apply(checkpoint_path.read_bytes()))

    with pytest.raises(ModelError, match=f"model.safetensors: .*({message})"):
        models.open_predictor(path)


def test_a_pytorch_archive_is_rejected_without_opening_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("archive/data.pkl", b"cos\nsystem\n(S'touch owned'\ntR.")

    with pytest.raises(ModelError, match="unpickling can run code"):
        models.open_predictor(tmp_path / "model.pt")


def resaved(path: Path, source: Path, **changes: Any) -> None:
    """Save a checkpoint with changed content and a matching hash."""
    import dataclasses

    original = checkpoint.load(source)
    tensors = changes.pop("tensors", original.tensors)
    checkpoint.save(path, tensors, dataclasses.replace(original.metadata, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"arch": "mlp", "arch_args": {"hidden": [8], "dropout": 0.0}, "familiarity_layers": []},
            "its weights do not match 'mlp'",
        ),
        ({"familiarity_layers": ["nowhere"]}, "the model cannot be built"),
        ({"arch": "resnet"}, "unknown architecture 'resnet'"),
        ({"arch_args": {"depth": 3}}, "'cnn' cannot be built"),
        ({"class_names": ["a", "b"]}, "its weights do not match 'cnn'"),
    ],
)
def test_a_checkpoint_of_another_net_is_rejected(
    changes: dict[str, Any], message: str, checkpoint_path: Path, tmp_path: Path
) -> None:
    resaved(tmp_path / "model.safetensors", checkpoint_path, **changes)

    with pytest.raises(ModelError, match=message):
        models.open_predictor(tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", ["[b]", "ankle boot", "七", "x" * 255])
def test_class_names_can_be_any_printable_text(
    name: str, checkpoint_path: Path, tmp_path: Path
) -> None:
    names = [name, *"123456789"]

    resaved(tmp_path / "model.safetensors", checkpoint_path, class_names=names)

    assert models.describe(tmp_path / "model.safetensors")[1].class_names == names


def test_weights_of_another_type_are_rejected(checkpoint_path: Path, tmp_path: Path) -> None:
    tensors = {
        name: tensor.astype(np.float64)
        for name, tensor in checkpoint.load(checkpoint_path).tensors.items()
    }
    resaved(tmp_path / "model.safetensors", checkpoint_path, tensors=tensors)

    with pytest.raises(ModelError, match=r"float64.*expected.*float32"):
        models.open_predictor(tmp_path / "model.safetensors")


def test_weights_that_are_not_finite_are_rejected(checkpoint_path: Path, tmp_path: Path) -> None:
    tensors = dict(from_safetensors(checkpoint_path.read_bytes()))
    name = next(iter(tensors))
    tensors[name] = np.full_like(tensors[name], np.nan)
    resaved(tmp_path / "model.safetensors", checkpoint_path, tensors=tensors)

    with pytest.raises(ModelError, match=f"'{name}' contains values that are not finite"):
        models.open_predictor(tmp_path / "model.safetensors")


@pytest.mark.parametrize("content", [b"", b"\x08\x01junk", b"\x08\x0a" + b"\xff" * 100])
def test_a_damaged_onnx_file_is_rejected_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)

    with pytest.raises(ModelError, match=r"model\.onnx: (an empty file|damaged or truncated)"):
        models.open_predictor(path)


def test_a_truncated_onnx_file_is_rejected(onnx_path: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(onnx_path.read_bytes()[:-2_000])

    with pytest.raises(ModelError):
        models.open_predictor(tmp_path / "model.onnx")


def test_another_programs_onnx_file_is_rejected(onnx_path: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(onnx_path)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "model.onnx")

    with pytest.raises(ModelError, match="not one that mnistctl made"):
        models.open_predictor(tmp_path / "model.onnx")


def copy_runs(run_folder: Path, *names: str) -> None:
    for name in names:
        shutil.copytree(run_folder, Path("runs") / name)


def test_a_model_is_found_by_file_folder_or_name_and_the_newest_is_the_default(
    run_folder: Path,
) -> None:
    import os

    copy_runs(run_folder, "first", "second")
    os.utime("runs/first/model.safetensors", (2**31, 2**31))
    expected = Path("runs/first/model.safetensors")

    assert models.find_model(expected) == expected
    assert models.find_model("runs/first") == expected
    assert models.find_model("first") == expected
    assert models.find_model(None) == expected


def test_a_folder_without_a_model_does_not_hide_a_run_of_its_name(run_folder: Path) -> None:
    copy_runs(run_folder, "mine")
    Path("mine").mkdir()

    assert models.find_model("mine") == Path("runs/mine/model.safetensors")


def test_an_unknown_model_is_rejected_with_the_nearest_run(run_folder: Path) -> None:
    assert models.find_model(None) == models.bundled("safetensors")

    copy_runs(run_folder, "first")
    Path("empty").mkdir()

    with pytest.raises(ModelError, match=r"frist: no such file.*did you mean 'first'"):
        models.find_model("frist")
    with pytest.raises(ModelError, match="empty: a folder without model"):
        models.find_model("empty")
