"""Safety checks of ONNX files from other people, made before a runtime opens the file.

A file may use the operators of mnistctl's own exports only. With these the shapes of all values can be
inferred, and so the memory and the arithmetic are known before anything is computed.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mnistctl.errors import ModelError, one_line
from mnistctl.system import files
from mnistctl.types import IMAGE_SIZE

if TYPE_CHECKING:
    import onnx

PAGES = "pages"  # the input of a graph that takes pages of any size; other graphs take images
MAX_BYTES = 1_500_000_000  # the largest net of torchvision that ONNX can hold, vit_l_16, has 1.2 GB
MAX_NODES = 50_000
MAX_MEMORY = 1 << 30  # bytes of the values that one image or page needs at the same time
MAX_OPERATIONS = 1 << 38  # for one image or page; vit_l_16 takes a quarter of it
_OPERATIONS_PER_ELEMENT = 16  # reading or writing an element takes as long as this many multiply-adds
_BATCHES = (1, 2, 256)
_PAGE = (64, 192)  # height and width in pixels at which the batches of pages are measured
# Between them, and so on all pages of as many pixels, the work is at most that of all three together.
_LARGEST_PAGES = ((2048, 2048), (16, 1 << 18), (1 << 18, 16))
_ROUNDS = 20  # of inference: sizes may depend on sizes
_SMALL = 1024  # elements; larger constants cannot be the shape of anything
_DOMAINS = ("", "ai.onnx")  # of ONNX's standard operators
_ITEM_SIZES = {"BOOL": 1, "INT8": 1, "UINT8": 1, "FLOAT16": 2, "FLOAT": 4, "INT32": 4, "INT64": 8}

# Those of all architectures in all formats, and others that custom architectures use. Tests hold the
# list against the exports.
OPERATORS = frozenset(  # as text, since a name a line would fill a page
    """
    Abs Add And AveragePool BatchNormalization Cast Celu Clip Concat Conv Cos DequantizeLinear Div
    Einsum Elu Equal Erf Exp Expand Floor Gather GatherND Gelu Gemm Greater HardSigmoid HardSwish
    InstanceNormalization LayerNormalization LeakyRelu LessOrEqual Log LogSoftmax MatMul Max
    MaxPool Min Mish Mul Neg PRelu Pad Pow QuantizeLinear Range Reciprocal ReduceL2 ReduceLogSumExp
    ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Resize Selu Shape Sigmoid Sign Sin Slice
    Softmax Softplus Split Sqrt Squeeze Sub Tanh Transpose Unsqueeze Where
    """.split()  # noqa: SIM905
)


class Work(NamedTuple):
    """What a graph takes for a batch of images or pages."""

    memory: int  # bytes of the values that are needed at the same time, without the weights
    operations: int  # multiply-adds, and the reading and writing of elements


class Checked(NamedTuple):
    """What the check of a file found out about it."""

    graph_sha256: str
    max_pixels: int  # of all images or pages of one call, so that its work stays bounded


def read(path: Path) -> bytes:
    """Read a file.

    Raises:
        ModelError: the file cannot be read, or is larger than `MAX_BYTES`.
    """
    return files.read_bytes(path, ModelError, MAX_BYTES)


def check(content: bytes, *, name: Path) -> Checked:
    """Check that a file is a complete and valid graph whose work is bounded.

    Args:
        content: of the file.
        name: the file's name in error messages.

    Raises:
        ModelError: the file is damaged or not valid ONNX, refers to other files, uses an operator that
            is not in `OPERATORS`, or takes too much memory or arithmetic.
    """
    import onnx  # 0.1 s
    from google.protobuf.message import DecodeError

    try:
        model = onnx.ModelProto.FromString(content)
        _check_parts(model)
        digest = graph_sha256(model)
        _remove_weights(model.graph)
        onnx.checker.check_model(model)
        max_pixels = _max_pixels(model)
    except DecodeError as error:
        raise ModelError(f"{name}: damaged or truncated: not a complete ONNX file") from error
    except ModelError as error:
        raise ModelError(f"{name}: {error}; mnistctl does not run it") from error
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ValueError) as error:
        raise ModelError(f"{name}: not valid ONNX ({one_line(error)})") from error
    return Checked(digest, max_pixels)


def graph_sha256(model: "onnx.ModelProto") -> str:
    """SHA-256 of the graph and its weights, without the metadata."""
    return files.sha256(model.graph.SerializeToString(deterministic=True))


def _check_parts(model: "onnx.ModelProto") -> None:
    """Check that a model has no parts other than nodes of known operators, and complete weights."""
    graph = model.graph
    if model.functions or model.training_info or graph.sparse_initializer:
        raise ModelError("defines functions, training steps or sparse tensors")
    if len(graph.node) > MAX_NODES:
        raise ModelError(f"{len(graph.node):,} nodes; at most {MAX_NODES:,} are allowed")
    for domain in (
        *(item.domain for item in model.opset_import),
        *(node.domain for node in graph.node),
    ):
        if domain not in _DOMAINS:
            raise ModelError(f"uses operators of '{domain}', which are not standard ONNX")
    for node in graph.node:
        if node.op_type not in OPERATORS:
            raise ModelError(f"uses the operator '{node.op_type}', which no export of mnistctl uses")
        for item in node.attribute:
            if item.HasField("t") or item.HasField("g") or item.HasField("sparse_tensor"):
                raise ModelError(f"the attribute '{item.name}' of a '{node.op_type}' is not allowed")
    for tensor in graph.initializer:
        if tensor.data_location or tensor.external_data:
            raise ModelError(f"the data of '{tensor.name}' are in another file")


def _remove_weights(graph: "onnx.GraphProto") -> None:
    """Turn large constants into inputs: the checks below need only their shapes.

    Raises:
        ValueError: the data of a constant does not fit its shape.
    """
    import onnx

    small = []
    for tensor in graph.initializer:
        shape, raw = list(tensor.dims), len(tensor.raw_data)
        if raw:
            count = raw / onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        else:
            count = len(getattr(tensor, onnx.helper.tensor_dtype_to_field(tensor.data_type)))
        if count != prod(shape):
            raise ValueError(f"'{tensor.name}' has {count:,.0f} elements for shape {shape}")
        if count <= _SMALL:
            small.append(tensor)
        else:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, shape))
    kept = [onnx.TensorProto.FromString(tensor.SerializeToString()) for tensor in small]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(kept)


def _max_pixels(model: "onnx.ModelProto") -> int:
    """The pixels of one call, after a check that the work is bounded and linear in the batch.

    Raises:
        ModelError: it is not, or a single image or a page of the size `_PAGE` takes too much.
    """
    takes_pages = [value.name for value in model.graph.input[:1]] == [PAGES]
    sides = _PAGE if takes_pages else ()
    work = [measure(model, (batch, *sides)) for batch in _BATCHES]
    _check_work(work, "page" if takes_pages else "image")
    if not takes_pages:
        growth = (work[2].memory - work[0].memory) // (_BATCHES[2] - _BATCHES[0])
        return IMAGE_SIZE**2 * max(1, MAX_MEMORY // max(growth, 1))
    limits = [prod(_LARGEST_PAGES[0])]
    for height, width in _LARGEST_PAGES:
        memory, operations = measure(model, (1, height, width))
        limits.append(height * width * MAX_MEMORY // max(memory, 1))
        limits.append(height * width * MAX_OPERATIONS // max(operations, 1))
    if min(limits) < prod(_PAGE):
        raise ModelError("its work grows faster than the pages")
    return min(limits)


def _check_work(work: Sequence[Work], unit: str) -> None:
    """Check the work for the batches `_BATCHES`: bounded for one image, and linear in the images."""
    one, two, many = work
    if one.memory > MAX_MEMORY:
        raise ModelError(f"one {unit} needs {one.memory:,} bytes; at most {MAX_MEMORY:,} are allowed")
    if one.operations > MAX_OPERATIONS:
        raise ModelError(
            f"one {unit} takes {one.operations:,} operations; at most {MAX_OPERATIONS:,} are allowed"
        )
    if many.memory > _BATCHES[2] * one.memory or many.operations - one.operations != (
        _BATCHES[2] - 1
    ) * (two.operations - one.operations):
        raise ModelError(f"its work is not proportional to the number of {unit}s")


def measure(model: "onnx.ModelProto", sizes: Sequence[int]) -> Work:
    """Count what a graph takes.

    Args:
        model: without large constants.
        sizes: of the first axes of the input, where the graph leaves them free: the batch, and of
            pages the height and the width.

    Raises:
        ModelError: a size is known only when the graph runs, or a type is not allowed.
        onnx.shape_inference.InferenceError: the graph is not valid.
    """
    graph, shapes, item_sizes = _infer(model, sizes)
    last_use = {name: index for index, node in enumerate(graph.node) for name in node.input}
    released: Counter[int] = Counter()  # index of a node -> bytes that are not needed after it
    memory = peak = operations = 0
    for index, node in enumerate(graph.node):
        outputs = [name for name in node.output if name]
        if unknown := [name for name in outputs if name not in shapes]:
            raise ModelError(f"the size of '{unknown[0]}' is known only when the file runs")
        for name in outputs:
            size = item_sizes[name] * prod(shapes[name])
            memory += size
            released[last_use.get(name, index)] += size
        elements = sum(prod(shapes[name]) for name in (*node.input, *outputs) if name in shapes)
        multiply_adds, buffered = _count_products(node, shapes)
        operations += _OPERATIONS_PER_ELEMENT * (elements + buffered) + multiply_adds
        peak = max(peak, memory + _ITEM_SIZES["FLOAT"] * buffered)
        memory -= released[index]
    return Work(peak, operations)


def _infer(
    model: "onnx.ModelProto", sizes: Sequence[int]
) -> tuple["onnx.GraphProto", dict[str, list[int]], dict[str, int]]:
    """The graph for an input, the shapes of its values, and the bytes of an element of each value."""
    import onnx

    sized = onnx.ModelProto()
    sized.CopyFrom(model)
    free_sizes = [(value, sizes[:1]) for value in sized.graph.output]
    for value, values in ((sized.graph.input[0], sizes), *free_sizes):
        for size, number in zip(value.type.tensor_type.shape.dim, values, strict=False):
            size.dim_value = size.dim_value or number
    # ONNX's own `data_prop` follows sizes through a graph too, but takes memory for every value.
    for _ in range(_ROUNDS):
        graph = onnx.shape_inference.infer_shapes(sized, strict_mode=True).graph
        shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
        item_sizes: dict[str, int] = {}
        for value in (*graph.input, *graph.output, *graph.value_info):
            tensor = value.type.tensor_type
            type_name = onnx.TensorProto.DataType.Name(tensor.elem_type)
            if type_name not in _ITEM_SIZES:
                raise ModelError(f"'{value.name}' has the type {type_name}, which no export has")
            item_sizes[value.name] = _ITEM_SIZES[type_name]
            if tensor.HasField("shape") and all(size.dim_value > 0 for size in tensor.shape.dim):
                shapes[value.name] = [size.dim_value for size in tensor.shape.dim]
        if not _fold_sizes(sized.graph, shapes):
            break
    return graph, shapes, item_sizes


def _fold_sizes(graph: "onnx.GraphProto", shapes: Mapping[str, list[int]]) -> bool:
    """Replace nodes that only compute sizes from known shapes by constants; whether there were any."""
    import numpy as np
    import onnx

    known = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.INT64 and len(tensor.dims) < 2
    }
    nodes = []
    for node in graph.node:
        values = [known[name] for name in node.input if name in known]
        are_known = len(values) == len(node.input)
        folded = None
        if node.op_type == "Shape" and node.input[0] in shapes:
            bounds = {item.name: item.i for item in node.attribute}
            folded = np.array(shapes[node.input[0]][bounds.get("start") : bounds.get("end")])
        elif node.op_type == "Squeeze" and are_known and values[0].size == 1:
            folded = values[0].reshape(())
        elif node.op_type == "Concat" and are_known and sum(item.size for item in values) <= _SMALL:
            folded = np.concatenate(values)
        elif node.op_type == "Slice" and are_known and len(values) == 3:
            sizes, starts, ends = values
            folded = sizes[int(starts[0]) : int(ends[0])]
        if folded is None:
            nodes.append(onnx.NodeProto.FromString(node.SerializeToString()))
        else:
            known[node.output[0]] = folded = folded.astype(np.int64)
            graph.initializer.append(onnx.numpy_helper.from_array(folded, node.output[0]))
    if len(nodes) == len(graph.node):
        return False
    del graph.node[:]
    graph.node.extend(nodes)
    return True


def _count_products(node: "onnx.NodeProto", shapes: Mapping[str, list[int]]) -> tuple[int, int]:
    """The multiply-adds of a node, and the elements of the buffer that it needs beside its output.

    Both are 0 for operators that only go through their elements.
    """
    output = prod(shapes[node.output[0]])
    inputs = [shapes[name] for name in node.input if name in shapes]
    attributes = {item.name: item for item in node.attribute}
    if node.op_type == "Conv":
        filters, *kernel = inputs[1]
        return output * prod(kernel), output * prod(kernel) // filters  # its input as a matrix
    if node.op_type == "MatMul":
        return output * inputs[0][-1], 0
    if node.op_type == "Gemm":
        is_transposed = "transA" in attributes and attributes["transA"].i
        return output * inputs[0][0 if is_transposed else 1], 0
    if node.op_type == "Einsum":
        terms = attributes["equation"].s.decode().partition("->")[0].replace(" ", "").split(",")
        if len(terms) > 2 or not "".join(terms).isalpha():
            raise ModelError("an 'Einsum' has more than two inputs, or an ellipsis")
        letters = {
            letter: side
            for term, shape in zip(terms, inputs, strict=True)
            for letter, side in zip(term, shape, strict=True)
        }
        return prod(letters.values()), 0
    if "kernel_shape" in attributes:  # pooling
        return output * prod(attributes["kernel_shape"].ints), 0
    return 0, 0
