"""ONNX files from other people: an unsafe file is rejected before a runtime opens it."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
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


class Bomb:
    """Adds nodes of allowed operators that would take much memory or time."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.count = 0

    def constant(self, values: npt.ArrayLike, dtype: str = "int64") -> str:
        self.count += 1
        tensor = numpy_helper.from_array(np.array(values, dtype=dtype), f"constant{self.count}")
        self.graph.initializer.append(tensor)
        return tensor.name

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        self.count += 1
        names = [f"bomb{self.count}_{index}" for index in range(outputs)]
        self.graph.node.append(helper.make_node(kind, inputs, names, **attributes))
        return names[0]

    def large(self, *shape: int) -> str:
        """A value of this shape, made from one number."""
        return self.node("Expand", self.constant(1, "float32"), self.constant(shape))

    def batch(self) -> str:
        """The number of images."""
        return self.node("Shape", "images", start=0, end=1)


def one_large_value(bomb: Bomb) -> None:
    bomb.large(1 << 15, 1 << 14)


def many_values_at_once(bomb: Bomb) -> None:
    bomb.node("Concat", *(bomb.large(1 << 26) for _ in range(100)), axis=0)


def large_kernel(bomb: Bomb) -> None:
    bomb.node("Conv", bomb.large(1, 1, 2048, 2048), bomb.large(1, 1, 1024, 1024))


def large_buffer(bomb: Bomb) -> None:
    bomb.node("Conv", bomb.large(1, 64, 512, 512), bomb.large(1, 64, 9, 9), pads=[4, 4, 4, 4])


def chain_of_products(bomb: Bomb) -> None:
    value = other = bomb.large(4096, 4096)
    for _ in range(200):
        value = bomb.node("MatMul", value, other)


def chain_of_thin_products(bomb: Bomb) -> None:
    value, other = bomb.large(1, 4096), bomb.large(4096, 4096)
    for _ in range(2_000):
        value = bomb.node("MatMul", value, other)


def chain_of_gemms(bomb: Bomb) -> None:
    value = other = bomb.large(4096, 4096)
    for _ in range(20):
        value = bomb.node("Gemm", value, other, transA=1)


def chain_of_powers(bomb: Bomb) -> None:
    value = bomb.large(1 << 26)
    for _ in range(500):
        value = bomb.node("Pow", value, value)


def many_nodes(bomb: Bomb) -> None:
    value = bomb.large(1)
    for _ in range(onnx_safety.MAX_NODES):
        value = bomb.node("Neg", value)


def einsum_of_many_inputs(bomb: Bomb) -> None:
    bomb.node("Einsum", *(bomb.large(64, 64) for _ in range(5)), equation="ab,bc,cd,de,ef->af")


def einsum_of_many_sides(bomb: Bomb) -> None:
    sides = bomb.large(*[8] * 7)
    bomb.node("Einsum", sides, sides, equation="abcdefg,hijklmn->ah")


def einsum_with_an_ellipsis(bomb: Bomb) -> None:
    bomb.node("Einsum", bomb.large(8, 8), bomb.large(8, 8), equation="...a,...a->...")


def wide_pool(bomb: Bomb) -> None:
    bomb.node("MaxPool", bomb.large(1, 1, 4096, 4096), kernel_shape=[1024, 1024])


def wide_padding(bomb: Bomb) -> None:
    bomb.node("Pad", bomb.large(8), bomb.constant([0, 1 << 33]))


def large_resize(bomb: Bomb) -> None:
    scales = bomb.constant([1, 1, 1e5, 1e5], "float32")
    bomb.node("Resize", bomb.large(1, 1, 8, 8), "", scales, mode="nearest")


def long_range(bomb: Bomb) -> None:
    bomb.node("Range", bomb.constant(0), bomb.constant(1 << 40), bomb.constant(1))


def range_up_to_the_ink(bomb: Bomb) -> None:
    pixels = bomb.node("Cast", "images", to=TensorProto.INT64)
    ink = bomb.node("ReduceSum", pixels, keepdims=0)
    bomb.node("Range", bomb.constant(0), ink, bomb.constant(1))


def shape_from_the_pixels(bomb: Bomb) -> None:
    shape = bomb.node("Cast", bomb.node("Reshape", "images", bomb.constant([-1])), to=TensorProto.INT64)
    bomb.node("Expand", bomb.constant(1, "float32"), shape)


def square_of_the_batch(bomb: Bomb) -> None:
    shape = bomb.node("Concat", bomb.batch(), bomb.batch(), axis=0)
    bomb.node("Expand", bomb.constant(1, "float32"), shape)


def power_of_the_batch(bomb: Bomb) -> None:
    size = bomb.batch()
    for _ in range(4):
        size = bomb.node("Mul", size, size)
    bomb.node("Expand", bomb.constant(1, "float32"), size)


def strings(bomb: Bomb) -> None:
    bomb.node("Cast", "images", to=TensorProto.STRING)


def complex_numbers(bomb: Bomb) -> None:
    bomb.node("Abs", bomb.constant([1j], "complex64"))


def single(kind: str) -> Callable[[Bomb], None]:
    def add(bomb: Bomb) -> None:
        bomb.node(kind, "images")

    return add


BOMBS: dict[str, tuple[Callable[[Bomb], None], str]] = {
    "a large value": (one_large_value, "one image needs 2,1.* bytes"),
    # Older releases of onnx infer no sizes here, so mnistctl rejects the file for another reason.
    "many values at once": (many_values_at_once, "one image needs .* bytes|only when the file runs"),
    "a large kernel": (large_kernel, "one image (needs|takes)"),
    "a large buffer": (large_buffer, "one image needs"),
    "a chain of products": (chain_of_products, "one image takes .* operations"),
    "a chain of thin products": (chain_of_thin_products, "one image takes .* operations"),
    "a chain of Gemms": (chain_of_gemms, "one image takes .* operations"),
    "a chain of powers": (chain_of_powers, "one image takes .* operations"),
    "many nodes": (many_nodes, "nodes; at most"),
    "Einsum of many inputs": (einsum_of_many_inputs, "'Einsum' has more than two"),
    "Einsum of many sides": (einsum_of_many_sides, "one image takes .* operations"),
    "Einsum with an ellipsis": (einsum_with_an_ellipsis, "'Einsum' has more than two"),
    "a wide pool": (wide_pool, "one image takes .* operations"),
    "a wide padding": (wide_padding, "one image needs"),
    "a large resize": (large_resize, "one image needs"),
    "a long range": (long_range, "one image needs"),
    "a range up to the ink": (range_up_to_the_ink, "known only when the file runs"),
    "a shape from the pixels": (shape_from_the_pixels, "known only when the file runs"),
    "the square of the batch": (square_of_the_batch, "not proportional"),
    "a power of the batch": (power_of_the_batch, "known only when the file runs"),
    "strings": (strings, "the type STRING"),
    "complex numbers": (complex_numbers, "not valid ONNX|the type COMPLEX64"),
    **{
        f"the operator {kind}": (single(kind), f"the operator '{kind}'")
        for kind in (
            "LSTM",
            "CumSum",
            "StringConcat",
            "If",
            "SequenceEmpty",
            "RandomNormal",
            "TfIdfVectorizer",
        )
    },
}


def exploding(add: Callable[[Bomb], None]) -> Tamper:
    return lambda model: add(Bomb(model))


HOSTILE: dict[str, tuple[Tamper, str]] = {
    **{f"bomb: {name}": (exploding(add), message) for name, (add, message) in BOMBS.items()},
    **{
        f"external data, {kind}": (external_weights(location), "the data of .* are in another file")
        for kind, location in LOCATIONS.items()
    },
    "external data, location beside the data": (location_beside_data, "in another file"),
    "external data, in an attribute": (external_attribute, "the operator 'Constant'"),
    "external data, in a subgraph": (external_in_subgraph, "the operator 'If'"),
    "external data, sparse": (external_sparse_values, "sparse tensors"),
    "a foreign domain, imported": (foreign_opset, "operators of 'com.example'"),
    "a foreign domain, used": (foreign_node("com.example"), "operators of 'com.example'"),
    "a runtime's own domain": (foreign_node("com.microsoft"), "operators of 'com.microsoft'"),
    "a foreign domain, in a subgraph": (foreign_node_in_subgraph, "the operator 'If'"),
    "a function": (add_function, "functions"),
    "training steps": (add_training_steps, "training steps"),
    "a loop": (unbounded_node("Loop"), "the operator 'Loop'"),
    "a scan": (unbounded_node("Scan"), "the operator 'Scan'"),
    "oversized weights": (oversized_weights, "not valid ONNX"),
    "a negative size": (negative_size, "not valid ONNX"),
    "truncated weights": (truncated_weights, "not valid ONNX"),
    "an oversized constant": (oversized_constant, "the operator 'ConstantOfShape'"),
    "an oversized result of copies": (oversized_copies, "the operator 'Tile'"),
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
    "an unknown operator": (unknown_operator, "the operator 'NoSuchThing'"),
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

    with pytest.raises(ModelError, match="at most 1,500,000,000 are read"):
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
