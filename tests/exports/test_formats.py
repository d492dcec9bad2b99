"""Every export format."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import mnistctl
from mnistctl import datasets
from mnistctl.api import models
from mnistctl.errors import CheckFailedError, ModelError, UsageError
from mnistctl.models import formats
from tests.helpers import Cli

REOPENED = [name for name, kind in formats.FORMATS.items() if kind.is_reopened]


def installed(name: str) -> str:
    """The format's name; the test is skipped if its runtime is not installed."""
    modules = {formats.OPENVINO: "openvino", formats.HTML: "py_mini_racer"}
    if name in modules:
        pytest.importorskip(modules[name])
    return name


@pytest.mark.parametrize("input_kind", formats.INPUTS)
@pytest.mark.parametrize("name", formats.FORMATS)
def test_every_format_gives_the_outputs_of_the_checkpoint(
    name: str, input_kind: str, checkpoint_path: Path, tmp_path: Path
) -> None:
    if (name, input_kind) == (formats.HTML, formats.FLOAT32):
        pytest.skip("a page prepares its images itself")
    target = tmp_path / "out"

    (exported,) = mnistctl.export(
        checkpoint_path, format=installed(name), output=target, input=input_kind
    )

    parity = exported.parity
    assert (exported.path, exported.format) == (str(target), name)
    assert parity["holds"]
    assert (parity["images"], parity["batch_sizes"]) == (297, [*formats.FORMATS[name].batch_sizes])
    assert parity["disagreements"] <= 1
    assert (parity["preparation_difference"] is not None) == (name == formats.HTML)
    if formats.FORMATS[name].is_exact:
        assert parity["max_logit_difference"] <= 1e-3
    if name not in REOPENED:
        return
    format_name, metadata = models.describe(models.find_model(target))
    assert format_name == name
    assert metadata.export["parity"] == parity
    assert metadata.export["graph_sha256"] == exported.graph_sha256
    assert metadata.export["input"] == input_kind


@pytest.mark.parametrize("name", REOPENED)
def test_commands_accept_every_format_except_torch(
    name: str, cli: Cli, checkpoint_path: Path, picture: Path
) -> None:
    assert cli("export", checkpoint_path, "--format", installed(name), "-o", "out", "-q").code == 0

    answers = {
        "eval": cli("eval", "out", "--json", "-q"),
        "info": cli("info", "out", "--json"),
        "predict": cli("predict", picture, "--model", "out", "--json"),
        "compare": cli("compare", checkpoint_path, "out", "--json"),
    }

    assert {command: answer.code for command, answer in answers.items()} == dict.fromkeys(answers, 0)
    assert json.loads(answers["eval"].out)["accuracy"] > 0.9
    assert json.loads(answers["info"].out)["format"] == name
    assert json.loads(answers["predict"].out)[0]["label"] == "3"


def test_commands_reject_a_torch_program(cli: Cli, checkpoint_path: Path, picture: Path) -> None:
    cli("export", checkpoint_path, "--format", "torch", "-o", "out.pt2", "-q")

    for command in (
        ("eval", "out.pt2"),
        ("predict", picture, "--model", "out.pt2"),
        ("info", "out.pt2"),
    ):
        answer = cli(*command, "-q")
        assert answer.code == 4
        assert "unpickling can run code" in answer.err


def test_several_formats_are_written_to_one_folder(cli: Cli, checkpoint_path: Path) -> None:
    answer = cli("export", checkpoint_path, "--format", "onnx, onnx-int8", "-o", "all", "--json", "-q")

    assert answer.code == 0, answer.err
    assert [item["format"] for item in json.loads(answer.out)] == ["onnx", "onnx-int8"]
    assert sorted(path.name for path in Path("all").iterdir()) == ["model-int8.onnx", "model.onnx"]


def test_lower_precision_gives_smaller_files(checkpoint_path: Path, tmp_path: Path) -> None:
    names = ("onnx", "onnx-fp16", "onnx-int8")

    exported = mnistctl.export(checkpoint_path, format=names, output=tmp_path)

    float32, float16, int8 = (model.bytes for model in exported)
    assert float16 < 0.6 * float32
    assert int8 < 0.35 * float32


@pytest.mark.parametrize("opset", formats.IR_VERSIONS)
@pytest.mark.parametrize("name", ["onnx", "onnx-int8"])
def test_every_opset_is_written_with_its_oldest_ir_version(
    opset: int, name: str, checkpoint_path: Path, tmp_path: Path
) -> None:
    target = tmp_path / "model.onnx"
    mnistctl.export(checkpoint_path, format=name, output=target, opset=opset)

    model = onnx.load(target)

    assert [(item.domain, item.version) for item in model.opset_import] == [("", opset)]
    assert model.ir_version == formats.IR_VERSIONS[opset]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"opset": 17}, "--opset 17: expected 18 to 21"),
        ({"opset": 22}, "--opset 22: expected 18 to 21"),
        ({"input": "float16"}, "unknown input 'float16'; did you mean 'float32'?"),
        ({"format": "onyx"}, "unknown format 'onyx'; did you mean 'onnx'?"),
        ({"format": ["onnx", ""]}, "unknown format ''"),
    ],
)
def test_export_rejects_an_unknown_opset_input_or_format(
    option: dict[str, Any], message: str, cli: Cli, checkpoint_path: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        mnistctl.export(checkpoint_path, **option)

    assert message in str(caught.value)
    ((name, value),) = option.items()
    value = ",".join(value) if isinstance(value, list) else str(value)
    answer = cli("export", checkpoint_path, f"--{name}", value)
    assert answer.code == 2
    assert f"--{name}" in answer.err or message in answer.err


@pytest.mark.parametrize("name", ["onnx", "onnx-fp16", "onnx-int8"])
def test_an_onnx_graph_has_every_shape_no_unused_constants_and_no_stack_traces(
    name: str, checkpoint_path: Path, tmp_path: Path
) -> None:
    target = tmp_path / "model.onnx"
    mnistctl.export(checkpoint_path, format=name, output=target)

    model = onnx.load(target, load_external_data=False)

    graph = model.graph
    computed = {output for node in graph.node for output in node.output}
    used = {name for node in graph.node for name in node.input}
    assert computed == {value.name for value in (*graph.value_info, *graph.output)}
    assert {constant.name for constant in graph.initializer} <= used
    assert computed - used <= {"logits", "probabilities", "familiarity"}
    assert not any(node.metadata_props or node.doc_string for node in graph.node)
    assert not any(constant.data_location or constant.doc_string for constant in graph.initializer)
    assert not model.functions
    for value in graph.value_info:
        sizes = value.type.tensor_type.shape.dim
        assert all(size.dim_value or size.dim_param for size in sizes), value.name


def test_existing_output_is_replaced_only_with_force(cli: Cli, checkpoint_path: Path) -> None:
    export = ("export", checkpoint_path, "--format", "triton", "-o", "served", "-q")

    codes = [cli(*export).code, cli(*export).code, cli(*export, "--force").code]

    assert codes == [0, 2, 0]
    assert [path.name for path in Path("served").iterdir()] == ["reader"]
    assert [path.name for path in Path().iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["openvino", "triton"])
def test_a_folder_with_other_files_is_never_replaced(
    name: str, cli: Cli, checkpoint_path: Path
) -> None:
    Path("work").mkdir()
    model = shutil.copy(checkpoint_path, "work/mine.safetensors")

    answer = cli("export", model, "--format", installed(name), "-o", "work", "--force", "-q")

    assert answer.code == 2
    assert "work: contains other files (mine.safetensors)" in answer.err
    assert [path.name for path in Path("work").iterdir()] == ["mine.safetensors"]


@pytest.mark.parametrize(("name", "is_folder"), [("onnx", True), ("triton", False)])
def test_a_file_is_not_replaced_by_a_folder_or_a_folder_by_a_file(
    name: str, is_folder: bool, cli: Cli, checkpoint_path: Path
) -> None:
    if is_folder:
        Path("there").mkdir()
    else:
        Path("there").write_text("mine")

    answer = cli("export", checkpoint_path, "--format", name, "-o", "there", "--force", "-q")

    assert answer.code == 2
    assert "; the format is a" in answer.err


def test_a_net_that_cannot_be_exported_is_reported_in_one_line(cli: Cli, tmp_path: Path) -> None:
    source = tmp_path / "branch.py"
    source.write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__()\n"
        "        self.layer = nn.Linear(784, classes)\n"
        "    def forward(self, images):\n"
        "        flat = images.flatten(1)\n"
        "        return self.layer(flat) if flat.sum() > 0 else self.layer(-flat)\n"
    )
    arch = f"{source}:Net"
    train = ("train", "--arch", arch, "--dataset", "digits", "--epochs", "0.1", "--no-plots", "-q")
    assert cli(*train, "--name", "branch").code == 0

    for name in ("onnx", "torch"):
        answer = cli("export", "branch", "--arch", arch, "--format", name, "-o", "out", "-q")
        assert answer.code == 6, answer.err
        assert f"out: cannot export as '{name}'" in answer.err
        assert len(answer.err.splitlines()) == 1
    assert not Path("out").exists()


@pytest.mark.parametrize("name", ["onnx-fp16", "onnx-int8", "triton"])
def test_an_export_that_fails_its_check_is_not_kept(
    name: str, checkpoint_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mnistctl.exports import parity

    monkeypatch.setattr(
        parity, "_limits", lambda *_, **__: {"max_logit_difference": 0.0, "disagreements": -1}
    )

    with pytest.raises(CheckFailedError, match=r"disagreements \d+ \(at most -1 is allowed"):
        mnistctl.export(checkpoint_path, format=name, output=tmp_path / "out")

    assert list(tmp_path.iterdir()) == []


def test_an_exported_file_cannot_be_exported(onnx_path: Path) -> None:
    with pytest.raises(UsageError, match="already exported"):
        mnistctl.export(onnx_path, format="onnx-int8")


def test_changed_openvino_weights_are_rejected(checkpoint_path: Path, tmp_path: Path) -> None:
    installed(formats.OPENVINO)
    mnistctl.export(checkpoint_path, format=formats.OPENVINO, output=tmp_path / "out")
    weights = tmp_path / "out" / "model.bin"
    content = bytearray(weights.read_bytes())
    content[1_000] ^= 1
    weights.write_bytes(content)

    with pytest.raises(ModelError, match="changed since it was exported"):
        models.open_predictor(models.find_model(tmp_path / "out"))


@pytest.mark.parametrize("damage", ["no weights", "truncated", "a web page"])
def test_a_damaged_openvino_folder_is_reported_in_one_line(
    damage: str, cli: Cli, checkpoint_path: Path
) -> None:
    installed(formats.OPENVINO)
    cli("export", checkpoint_path, "--format", "openvino", "-o", "out", "-q")
    layers = Path("out/model.xml")
    if damage == "no weights":
        Path("out/model.bin").unlink()
    else:
        layers.write_bytes(layers.read_bytes()[:5_000] if damage == "truncated" else b"<html></html>")

    answer = cli("eval", "out", "-q")

    assert answer.code == 4
    assert len(answer.err.splitlines()) == 1


def test_export_to_openvino_without_openvino_says_what_to_install(
    cli: Cli, checkpoint_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    for package, module in (
        ("mnistctl.models", "openvino_predictor"),
        ("mnistctl.exports", "openvino"),
    ):
        monkeypatch.delitem(sys.modules, f"{package}.{module}", raising=False)
        if package in sys.modules:
            monkeypatch.delattr(sys.modules[package], module, raising=False)

    answer = cli("export", checkpoint_path, "--format", "openvino", "-o", "out", "-q")

    assert answer.code == 5
    assert "pip install 'mnistctl[openvino]'" in answer.err
    assert not Path("out").exists()


@pytest.mark.parametrize("input_kind", formats.INPUTS)
def test_the_triton_configuration_matches_the_graph(
    input_kind: str, checkpoint_path: Path, tmp_path: Path
) -> None:
    client = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    from google.protobuf import text_format

    mnistctl.export(checkpoint_path, format="triton", output=tmp_path / "served", input=input_kind)

    text = (tmp_path / "served" / "reader" / "config.pbtxt").read_text(encoding="utf-8")
    config = text_format.Parse(text, client.ModelConfig())
    model = onnx.load(tmp_path / "served" / "reader" / "1" / "model.onnx")
    kinds = {"TYPE_UINT8": onnx.TensorProto.UINT8, "TYPE_FP32": onnx.TensorProto.FLOAT}
    assert (config.name, config.backend, config.max_batch_size) == ("reader", "onnxruntime", 256)
    assert config.HasField("dynamic_batching")
    for tensor, value in zip(
        (*config.input, *config.output), (*model.graph.input, *model.graph.output), strict=True
    ):
        sizes = [size.dim_value for size in value.type.tensor_type.shape.dim][1:]
        shape = tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims
        assert tensor.name == value.name
        assert kinds[client.DataType.Name(tensor.data_type)] == value.type.tensor_type.elem_type
        assert list(shape) == sizes


@pytest.mark.slow
def test_the_oldest_onnxruntime_for_this_python_runs_the_exported_files(
    checkpoint_path: Path, tmp_path: Path
) -> None:
    names = ("onnx", "onnx-fp16", "onnx-int8")
    mnistctl.export(checkpoint_path, format=names, output=tmp_path)
    images = datasets.load("digits", "test").images
    np.save(tmp_path / "images.npy", images)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "old"], check=True)
    python = tmp_path / "old" / "bin" / "python"
    oldest = {11: "1.15.0", 12: "1.17.0", 13: "1.20.0"}[sys.version_info.minor]
    install = [str(python), "-m", "pip", "install", "-q", f"onnxruntime=={oldest}", "numpy<2"]
    subprocess.run(install, check=True)
    code = """
import sys, numpy, onnxruntime
images = numpy.load("images.npy")
for name in sys.argv[1:]:
    session = onnxruntime.InferenceSession(name, providers=["CPUExecutionProvider"])
    numpy.save(name + ".npy", session.run(["logits"], {"images": images})[0])
"""
    files = ["model.onnx", "model-fp16.onnx", "model-int8.onnx"]

    subprocess.run([python, "-c", code, *files], cwd=tmp_path, check=True)

    expected = models.open_predictor(checkpoint_path)(images).logits
    float32, float16, int8 = (np.load(tmp_path / f"{file}.npy") for file in files)
    np.testing.assert_allclose(float32, expected, atol=1e-3)
    assert (float16.argmax(axis=1) != expected.argmax(axis=1)).sum() <= 1
    assert (int8.argmax(axis=1) != expected.argmax(axis=1)).sum() <= 3
