"""ONNX files from other people: an unsafe file is rejected before a runtime opens it."""

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
from tests.helpers import Cli

Tamper = Callable[[onnx.ModelProto], None]
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


def external_weights(location: str) -> Tamper:
    def tamper(model: onnx.ModelProto) -> None:
        external(location, first_weights(model))

    return tamper


def location_beside_data(model: onnx.ModelProto) -> None:
    entry = first_weights(model).external_data.add()
    entry.key, entry.value = "location", "weights.bin"


def constant() -> TensorProto:
    return numpy_helper.from_array(np.zeros(4, dtype=np.float32), "hidden")


def external_attribute(model: onnx.ModelProto) -> None:
    node = helper.make_node("Constant", [], ["unused"], value=external("weights.bin", constant()))
    model.graph.node.append(node)


def branch(tensor: TensorProto) -> onnx.GraphProto:
    node = helper.make_node("Constant", [], ["inner"], value=tensor)
    result = helper.make_tensor_value_info("inner", TensorProto.FLOAT, [4])
    return helper.make_graph([node], "branch", [], [result])


def external_in_subgraph(model: onnx.ModelProto) -> None:
    graph = branch(external("weights.bin", constant()))
    node = helper.make_node("If", ["condition"], ["x"], then_branch=graph, else_branch=graph)
    model.graph.node.append(node)


def external_sparse_values(model: onnx.ModelProto) -> None:
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(external("weights.bin", constant()))


def foreign_opset(model: onnx.ModelProto) -> None:
    model.opset_import.add(domain="com.example", version=1)


def foreign_node(domain: str) -> Tamper:
    def tamper(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node("Evil", ["images"], ["x"], domain=domain))

    return tamper


def foreign_node_in_subgraph(model: onnx.ModelProto) -> None:
    graph = branch(constant())
    graph.node.append(helper.make_node("Evil", ["inner"], ["y"], domain="com.example"))
    model.graph.node.append(helper.make_node("If", ["c"], ["x"], then_branch=graph, else_branch=graph))


def add_function(model: onnx.ModelProto) -> None:
    model.functions.add(name="own", domain="com.example")


def add_training_steps(model: onnx.ModelProto) -> None:
    model.training_info.add()


def unbounded_node(kind: str) -> Tamper:
    def tamper(model: onnx.ModelProto) -> None:
        model.graph.node.append(helper.make_node(kind, ["n", "c"], ["x"], body=branch(constant())))

    return tamper


def oversized_weights(model: onnx.ModelProto) -> None:
    del first_weights(model).dims[:]
    first_weights(model).dims.extend([1 << 20, 1 << 20])


def negative_size(model: onnx.ModelProto) -> None:
    first_weights(model).dims[0] = -1


def truncated_weights(model: onnx.ModelProto) -> None:
    weights = first_weights(model)
    weights.raw_data = weights.raw_data[:-8]


def oversized_constant(model: onnx.ModelProto) -> None:
    shape = numpy_helper.from_array(np.array([1 << 20, 1 << 20], dtype=np.int64), "shape")
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["x"]))


def oversized_copies(model: onnx.ModelProto) -> None:
    repeats = numpy_helper.from_array(np.array([1 << 30], dtype=np.int64), "repeats")
    model.graph.initializer.extend([repeats, numpy_helper.from_array(np.zeros(64, np.float32), "few")])
    model.graph.node.append(helper.make_node("Tile", ["few", "repeats"], ["x"]))


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
    metadata = json.loads(model.metadata_props[0].value)
    model.metadata_props[0].value = json.dumps({**metadata, "class_names": ["0", "1"]})


def other_export(value: object) -> Tamper:
    def tamper(model: onnx.ModelProto) -> None:
        metadata = json.loads(model.metadata_props[0].value)
        model.metadata_props[0].value = json.dumps({**metadata, "export": value})

    return tamper


def missing_output(model: onnx.ModelProto) -> None:
    del model.graph.output[2]


def outputs_swapped(model: onnx.ModelProto) -> None:
    first, second = model.graph.output[0].name, model.graph.output[1].name
    model.graph.output[0].name, model.graph.output[1].name = second, first


def no_metadata(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]


def foreign_metadata(model: onnx.ModelProto) -> None:
    model.metadata_props[0].value = "{}"


def unknown_operator(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("NoSuchThing", ["images"], ["x"]))


def newer_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 9_999


def newer_file(model: onnx.ModelProto) -> None:
    model.ir_version = 9_999


def add_cycle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "logits"


def change_weight(model: onnx.ModelProto) -> None:
    weights = first_weights(model)
    changed = numpy_helper.to_array(weights).copy()
    changed.flat[0] += 1
    weights.raw_data = changed.tobytes()


HOSTILE: dict[str, tuple[Tamper, str]] = {
    **{
        f"external data, {kind}": (external_weights(location), "the data of .* are in another file")
        for kind, location in LOCATIONS.items()
    },
    "external data, location beside the data": (location_beside_data, "in another file"),
    "external data, in an attribute": (external_attribute, "in another file"),
    "external data, in a subgraph": (external_in_subgraph, "in another file"),
    "external data, sparse": (external_sparse_values, "in another file"),
    "a foreign domain, imported": (foreign_opset, "operators of 'com.example'"),
    "a foreign domain, used": (foreign_node("com.example"), "'Evil' of 'com.example'"),
    "a runtime's own domain": (foreign_node("com.microsoft"), "'Evil' of 'com.microsoft'"),
    "a foreign domain, in a subgraph": (foreign_node_in_subgraph, "'Evil' of 'com.example'"),
    "a function": (add_function, "functions"),
    "training steps": (add_training_steps, "training steps"),
    "a loop": (unbounded_node("Loop"), "'Loop', which may never end"),
    "a scan": (unbounded_node("Scan"), "'Scan', which may never end"),
    "oversized weights": (oversized_weights, "not valid ONNX|elements are allowed"),
    "a negative size": (negative_size, "not valid ONNX"),
    "truncated weights": (truncated_weights, "not valid ONNX"),
    "an oversized constant": (oversized_constant, "elements are allowed|not valid ONNX"),
    "an oversized result of copies": (oversized_copies, "elements are allowed|not valid ONNX"),
    "a second input": (second_input, "expected one input"),
    "an input of another name": (other_input_name, "expected one input"),
    "an input of another type": (other_input_type, "not valid ONNX|cannot load|expected one input"),
    "images of another size": (other_size, "expected one input|not valid ONNX|cannot load"),
    "a fixed batch size": (fixed_batch, "expected one input|not valid ONNX|cannot load"),
    "fewer classes than logits": (fewer_classes, "of 2 classes"),
    "parity that is not an object": (other_export({"parity": 5}), "wrong: export"),
    "an unknown kind of input": (other_export({"input": "x"}), "wrong: export"),
    "an output missing": (missing_output, "expected one input"),
    "outputs swapped": (outputs_swapped, "expected one input"),
    "no metadata": (no_metadata, "not one that mnistctl made"),
    "metadata of another program": (foreign_metadata, "format version None"),
    "an unknown operator": (unknown_operator, "not valid ONNX"),
    "a newer opset": (newer_opset, "not valid ONNX|cannot load"),
    "a newer file version": (newer_file, "not valid ONNX|cannot load"),
    "a cycle": (add_cycle, "not valid ONNX"),
}


def without_graph_hash(path: Path) -> onnx.ModelProto:
    """An export without the hash of its graph, as an attacker would write it."""
    model = onnx.load(path)
    metadata = json.loads(model.metadata_props[0].value)
    del metadata["export"]["graph_sha256"]
    model.metadata_props[0].value = json.dumps(metadata)
    return model


@pytest.mark.parametrize("attack", HOSTILE)
def test_a_hostile_onnx_file_is_rejected_in_one_line(
    attack: str, onnx_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # The files that it refers to exist, so that only the check can reject it.
    (tmp_path / "weights.bin").write_bytes(bytes(1 << 20))
    (tmp_path / "link.bin").symlink_to("/etc/passwd")
    os.link(tmp_path / "weights.bin", tmp_path / "hard.bin")
    tamper, message = HOSTILE[attack]
    model = without_graph_hash(onnx_path)
    tamper(model)
    path = tmp_path / "hostile.onnx"
    path.write_bytes(model.SerializeToString())

    with pytest.raises(ModelError, match=f"hostile.onnx: .*({message})") as error:
        models.open_predictor(path)

    assert "\n" not in str(error.value)


def test_an_onnx_file_without_its_graph_hash_is_opened_if_it_is_harmless(
    onnx_path: Path, tmp_path: Path
) -> None:
    path = tmp_path / "unhashed.onnx"
    path.write_bytes(without_graph_hash(onnx_path).SerializeToString())

    assert models.open_predictor(path)


def test_an_onnx_file_with_a_changed_weight_is_rejected(onnx_path: Path, tmp_path: Path) -> None:
    model = onnx.load(onnx_path)
    change_weight(model)
    path = tmp_path / "changed.onnx"
    path.write_bytes(model.SerializeToString())

    with pytest.raises(ModelError, match=r"changed\.onnx: its graph has changed since it was exported"):
        models.open_predictor(path)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_onnx_file_is_rejected(share: float, onnx_path: Path, tmp_path: Path) -> None:
    content = onnx_path.read_bytes()
    path = tmp_path / "short.onnx"
    path.write_bytes(content[: int(share * len(content))])

    with pytest.raises(ModelError):
        models.open_predictor(path)


def test_an_onnx_file_over_the_size_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.write(b"\x08\x08" + bytes(20))
        file.truncate(onnx_safety.MAX_BYTES + 1)  # sparse: it takes no disk space

    with pytest.raises(ModelError, match="at most 2,147,483,647 are opened"):
        models.open_predictor(path)


def test_commands_reject_a_hostile_onnx_file_with_exit_code_4(
    cli: Cli, onnx_path: Path, picture: Path
) -> None:
    model = onnx.load(onnx_path)
    external_weights("weights.bin")(model)
    Path("hostile.onnx").write_bytes(model.SerializeToString())

    for command in (("eval", "hostile.onnx"), ("predict", picture, "--model", "hostile.onnx")):
        answer = cli(*command, "-q")
        assert answer.code == 4
        assert len(answer.err.splitlines()) == 1
        assert "in another file; mnistctl does not run it" in answer.err
