"""ONNX files from elsewhere: refused in one line before any runtime sees them."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mnistctl.api import models
from mnistctl.errors import ModelError
from mnistctl.models import onnx_safety
from tests.conftest import Cli

Spoil = Callable[[onnx.ModelProto], None]
LOCATIONS = {
    "relative": "weights.bin",
    "absolute": "/etc/passwd",
    "upwards": "../weights.bin",
    "link": "link.bin",
    "hard link": "hard.bin",
    "empty": "",
}


def external(location: str, tensor: TensorProto) -> TensorProto:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    return tensor


def first_weights(model: onnx.ModelProto) -> TensorProto:
    return next(item for item in model.graph.initializer if len(item.dims) > 1)


def at(location: str) -> Spoil:
    def spoil(model: onnx.ModelProto) -> None:
        external(location, first_weights(model))

    return spoil


def named_but_inside(model: onnx.ModelProto) -> None:
    entry = first_weights(model).external_data.add()
    entry.key, entry.value = "location", "weights.bin"


def constant() -> TensorProto:
    return numpy_helper.from_array(np.zeros(4, dtype=np.float32), "hidden")


def in_an_attribute(model: onnx.ModelProto) -> None:
    node = helper.make_node("Constant", [], ["unused"], value=external("weights.bin", constant()))
    model.graph.node.append(node)


def branch(tensor: TensorProto) -> onnx.GraphProto:
    node = helper.make_node("Constant", [], ["inner"], value=tensor)
    result = helper.make_tensor_value_info("inner", TensorProto.FLOAT, [4])
    return helper.make_graph([node], "branch", [], [result])


def in_an_inner_graph(model: onnx.ModelProto) -> None:
    graph = branch(external("weights.bin", constant()))
    node = helper.make_node("If", ["condition"], ["x"], then_branch=graph, else_branch=graph)
    model.graph.node.append(node)


def in_sparse_values(model: onnx.ModelProto) -> None:
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(external("weights.bin", constant()))


def foreign_opset(model: onnx.ModelProto) -> None:
    model.opset_import.add(domain="com.example", version=1)


def foreign_node(domain: str) -> Spoil:
    def spoil(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("Evil", ["images"], ["x"], domain=domain))

    return spoil


def foreign_inside(model: onnx.ModelProto) -> None:
    graph = branch(constant())
    graph.node.append(helper.make_node("Evil", ["inner"], ["y"], domain="com.example"))
    model.graph.node.append(helper.make_node("If", ["c"], ["x"], then_branch=graph, else_branch=graph))


def a_function(model: onnx.ModelProto) -> None:
    model.functions.add(name="own", domain="com.example")


def training(model: onnx.ModelProto) -> None:
    model.training_info.add()


def endless(kind: str) -> Spoil:
    def spoil(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node(kind, ["n", "c"], ["x"], body=branch(constant())))

    return spoil


def absurd_weights(model: onnx.ModelProto) -> None:
    del first_weights(model).dims[:]
    first_weights(model).dims.extend([1 << 20, 1 << 20])


def negative_size(model: onnx.ModelProto) -> None:
    first_weights(model).dims[0] = -1


def short_weights(model: onnx.ModelProto) -> None:
    weights = first_weights(model)
    weights.raw_data = weights.raw_data[:-8]


def absurd_constant(model: onnx.ModelProto) -> None:
    shape = numpy_helper.from_array(np.array([1 << 20, 1 << 20], dtype=np.int64), "vast")
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["vast"], ["x"]))


def absurd_copies(model: onnx.ModelProto) -> None:
    often = numpy_helper.from_array(np.array([1 << 30], dtype=np.int64), "often")
    model.graph.initializer.extend([often, numpy_helper.from_array(np.zeros(64, np.float32), "few")])
    model.graph.node.append(helper.make_node("Tile", ["few", "often"], ["x"]))


def second_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


def other_input_name(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.input[:] = ["pictures" if name == "images" else name for name in node.input]
    model.graph.input[0].name = "pictures"


def other_input_type(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT32


def other_size(model: onnx.ModelProto) -> None:
    for size in model.graph.input[0].type.tensor_type.shape.dim[1:]:
        size.dim_value = 32


def fixed_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def fewer_classes(model: onnx.ModelProto) -> None:
    about = json.loads(model.metadata_props[0].value)
    model.metadata_props[0].value = json.dumps({**about, "class_names": ["0", "1"]})


def senseless_export(value: object) -> Spoil:
    def spoil(model: onnx.ModelProto) -> None:
        about = json.loads(model.metadata_props[0].value)
        model.metadata_props[0].value = json.dumps({**about, "export": value})

    return spoil


def missing_output(model: onnx.ModelProto) -> None:
    del model.graph.output[2]


def outputs_swapped(model: onnx.ModelProto) -> None:
    first, second = model.graph.output[0].name, model.graph.output[1].name
    model.graph.output[0].name, model.graph.output[1].name = second, first


def no_metadata(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]


def metadata_of_another(model: onnx.ModelProto) -> None:
    model.metadata_props[0].value = "{}"


def unknown_operation(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("NoSuchThing", ["images"], ["x"]))


def newer_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 9_999


def newer_file(model: onnx.ModelProto) -> None:
    model.ir_version = 9_999


def a_cycle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "logits"


def a_changed_weight(model: onnx.ModelProto) -> None:
    weights = first_weights(model)
    changed = numpy_helper.to_array(weights).copy()
    changed.flat[0] += 1
    weights.raw_data = changed.tobytes()


HOSTILE: dict[str, tuple[Spoil, str]] = {
    **{
        f"external data, {what}": (at(location), "the data of .* are in another file")
        for what, location in LOCATIONS.items()
    },
    "external data, named besides": (named_but_inside, "in another file"),
    "external data, in an attribute": (in_an_attribute, "in another file"),
    "external data, in an inner graph": (in_an_inner_graph, "in another file"),
    "external data, sparse": (in_sparse_values, "in another file"),
    "a foreign domain, imported": (foreign_opset, "operations of 'com.example'"),
    "a foreign domain, used": (foreign_node("com.example"), "'Evil' of 'com.example'"),
    "a runtime's own domain": (foreign_node("com.microsoft"), "'Evil' of 'com.microsoft'"),
    "a foreign domain, in an inner graph": (foreign_inside, "'Evil' of 'com.example'"),
    "a function": (a_function, "functions"),
    "training steps": (training, "training steps"),
    "a loop": (endless("Loop"), "'Loop', which may never end"),
    "a scan": (endless("Scan"), "'Scan', which may never end"),
    "absurd weights": (absurd_weights, "not sound ONNX|absurdly large"),
    "a negative size": (negative_size, "not sound ONNX"),
    "weights cut short": (short_weights, "not sound ONNX"),
    "an absurd constant": (absurd_constant, "absurdly large|not sound"),
    "absurdly many copies": (absurd_copies, "absurdly large|not sound"),
    "a second input": (second_input, "expected one input"),
    "an input of another name": (other_input_name, "expected one input"),
    "an input of another type": (other_input_type, "not sound ONNX|cannot load|expected one input"),
    "images of another size": (other_size, "expected one input|not sound ONNX|cannot load"),
    "one image at a time": (fixed_batch, "expected one input|not sound ONNX|cannot load"),
    "fewer classes than logits": (fewer_classes, "of 2 classes"),
    "a check that is none": (senseless_export({"parity": 5}), "wrong: export"),
    "an input that is none": (senseless_export({"input": "x"}), "wrong: export"),
    "an output missing": (missing_output, "expected one input"),
    "outputs swapped": (outputs_swapped, "expected one input"),
    "no metadata": (no_metadata, "not one that mnistctl made"),
    "another's metadata": (metadata_of_another, "format version None"),
    "an unknown operation": (unknown_operation, "not sound ONNX"),
    "a newer opset": (newer_opset, "not sound ONNX|cannot load"),
    "a newer file format": (newer_file, "not sound ONNX|cannot load"),
    "a cycle": (a_cycle, "not sound ONNX"),
}


def whole(path: Path) -> onnx.ModelProto:
    """An export that does not say what its graph was, as whoever means harm would have it."""
    model = onnx.load(path)
    about = json.loads(model.metadata_props[0].value)
    del about["export"]["graph_sha256"]
    model.metadata_props[0].value = json.dumps(about)
    return model


def test_there_are_many() -> None:
    assert len(HOSTILE) >= 25


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_file_is_rejected_in_one_line(
    how: str, onnx_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # What it may point to is there, so that nothing but the check stops it.
    (tmp_path / "weights.bin").write_bytes(bytes(1 << 20))
    (tmp_path / "link.bin").symlink_to("/etc/passwd")
    os.link(tmp_path / "weights.bin", tmp_path / "hard.bin")
    spoil, message = HOSTILE[how]
    model = whole(onnx_path)
    spoil(model)
    path = tmp_path / "hostile.onnx"
    path.write_bytes(model.SerializeToString())

    with pytest.raises(ModelError, match=f"hostile.onnx: .*({message})") as error:
        models.open_predictor(path)

    assert "\n" not in str(error.value)


def test_without_what_is_hostile_it_is_opened(onnx_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "whole.onnx"
    path.write_bytes(whole(onnx_path).SerializeToString())

    assert models.open_predictor(path)


def test_a_changed_weight_is_noticed(onnx_path: Path, tmp_path: Path) -> None:
    model = onnx.load(onnx_path)
    a_changed_weight(model)
    path = tmp_path / "changed.onnx"
    path.write_bytes(model.SerializeToString())

    with pytest.raises(ModelError, match=r"changed\.onnx: changed since it was exported"):
        models.open_predictor(path)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_rejected(share: float, onnx_path: Path, tmp_path: Path) -> None:
    content = onnx_path.read_bytes()
    path = tmp_path / "short.onnx"
    path.write_bytes(content[: int(share * len(content))])

    with pytest.raises(ModelError):
        models.open_predictor(path)


def test_an_absurdly_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.write(b"\x08\x08" + bytes(20))
        file.truncate(onnx_safety.MAX_BYTES + 1)  # sparse: it takes no room

    with pytest.raises(ModelError, match="at most 2,147,483,647 are opened"):
        models.open_predictor(path)


def test_the_command_line_says_it_with_its_exit_code(cli: Cli, onnx_path: Path, picture: Path) -> None:
    model = onnx.load(onnx_path)
    at("weights.bin")(model)
    Path("hostile.onnx").write_bytes(model.SerializeToString())

    for verb in (("eval", "hostile.onnx"), ("predict", picture, "--model", "hostile.onnx")):
        answer = cli(*verb, "-q")
        assert answer.code == 4
        assert len(answer.err.splitlines()) == 1
        assert "in another file; mnistctl does not run it" in answer.err
