"""The export of models for numbers: the check of its outputs, and the checks of files from others."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import mnistctl
from mnistctl import datasets
from mnistctl.api import models
from mnistctl.api.export import ExportedModel
from mnistctl.errors import CheckFailedError, ModelError
from mnistctl.exports import page_parity
from mnistctl.models import formats, onnx_safety
from mnistctl.models.onnx_page_predictor import OnnxPagePredictor
from mnistctl.models.onnx_predictor import OnnxPredictor
from mnistctl.models.predictor import PageOutputs, PagePredictor
from mnistctl.types import Images
from tests import detectors
from tests.helpers import Cli


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return detectors.save_random(tmp_path_factory.mktemp("numbers") / "model.safetensors")


@pytest.fixture(scope="module")
def exported(checkpoint: Path) -> ExportedModel:
    return mnistctl.export(checkpoint)[0]


@pytest.fixture(scope="module")
def split() -> datasets.Split:
    return datasets.load("digits", "test")


def random_pages(*shape: int) -> Images:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_the_export_finds_the_digits_of_the_checkpoint(exported: ExportedModel) -> None:
    predictor = OnnxPagePredictor(Path(exported.path))

    assert exported.format == "onnx"
    assert exported.parity["holds"]
    assert (exported.parity["images"], exported.parity["disagreements"]) == (200, 0)
    assert exported.parity["digits"] == exported.parity["exported_digits"] > 100
    assert predictor.metadata.export["parity"] == exported.parity
    assert predictor.metadata.export["graph_sha256"] == exported.graph_sha256 == predictor.graph_sha256
    assert predictor.metadata.threshold == 0.3


@pytest.mark.parametrize("shape", [(1, 64, 192), (3, 16, 16), (2, 112, 48), (7, 64, 192)])
def test_pages_of_any_size_give_the_outputs_of_the_checkpoint(
    shape: tuple[int, int, int], checkpoint: Path, exported: ExportedModel
) -> None:
    pages = random_pages(*shape)

    expected = models.open_page_predictor(checkpoint)(pages)
    actual = OnnxPagePredictor(Path(exported.path))(pages)

    count, height, width = shape
    assert actual.scores.shape == (count, 10, height // 4, width // 4)
    assert actual.boxes.shape == (count, 4, height // 4, width // 4)
    np.testing.assert_allclose(actual.scores, expected.scores, atol=1e-5)
    np.testing.assert_allclose(actual.boxes, expected.boxes, atol=1e-2, rtol=1e-4)


def test_the_graph_names_its_free_sizes(exported: ExportedModel) -> None:
    model = onnx.load(exported.path)

    shapes = {
        value.name: [size.dim_value or size.dim_param for size in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {
        "pages": ["batch", "16*rows", "16*columns"],
        "scores": ["batch", 10, "4*rows", "4*columns"],
        "boxes": ["batch", 4, "4*rows", "4*columns"],
    }
    assert not any(node.metadata_props for node in model.graph.node)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--format", "onnx,onnx-int8"),
            "--format onnx-int8: models for numbers can be exported as onnx only",
        ),
        *(
            (("--format", name), f"--format {name}: models for numbers can be exported as onnx only")
            for name in formats.FORMATS
            if name != formats.ONNX
        ),
        (("--input", "float32"), "--input float32: models for numbers take uint8 only"),
    ],
)
def test_other_formats_and_inputs_are_rejected_before_anything_is_written(
    options: tuple[str, str], message: str, cli: Cli, checkpoint: Path
) -> None:
    answer = cli("export", checkpoint, *options, "--output", "new")

    assert answer.code == 2
    assert answer.err.strip() == f"mnistctl: {message}"
    assert not Path("new").exists()


def test_a_model_for_another_task_is_rejected(exported: ExportedModel, onnx_path: Path) -> None:
    with pytest.raises(ModelError, match="a model for the task 'numbers', not for 'digit'"):
        OnnxPredictor(Path(exported.path))
    with pytest.raises(ModelError, match="a model for the task 'digit', not for 'numbers'"):
        OnnxPagePredictor(onnx_path)


def test_every_operator_of_an_export_is_allowed(exported: ExportedModel) -> None:
    model = onnx.load(exported.path)

    assert {node.op_type for node in model.graph.node} <= onnx_safety.OPERATORS
    assert "Equal" in {node.op_type for node in model.graph.node}  # no other export has it


def test_an_export_may_run_on_pages_of_some_million_pixels(exported: ExportedModel) -> None:
    checked = onnx_safety.check(Path(exported.path).read_bytes(), name=Path("numbers"))

    assert 2_000_000 < checked.max_pixels <= 2048 * 2048


def test_pages_that_are_too_large_together_are_run_in_parts(exported: ExportedModel) -> None:
    pages = random_pages(5, 64, 192)
    predictor = OnnxPagePredictor(Path(exported.path))
    whole = predictor(pages)

    predictor._session.max_pixels = 2 * 64 * 192
    parts = predictor(pages)

    np.testing.assert_allclose(parts.scores, whole.scores, atol=1e-6)
    np.testing.assert_allclose(parts.boxes, whole.boxes, atol=1e-3)


def test_a_page_that_is_too_large_is_rejected(exported: ExportedModel) -> None:
    pages = np.zeros((1, 2048, 2064), dtype=np.uint8)

    with pytest.raises(ModelError, match=r"cannot run on a page of 2064×2048 pixels; at most"):
        OnnxPagePredictor(Path(exported.path))(pages)


def fixed_size(model: onnx.ModelProto) -> None:
    for size, value in zip(model.graph.input[0].type.tensor_type.shape.dim[1:], (64, 192), strict=True):
        size.dim_value = value


def other_name(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.output[:] = ["values" if name == "scores" else name for name in node.output]
        node.input[:] = ["values" if name == "scores" else name for name in node.input]
    model.graph.output[0].name = "values"


def missing_output(model: onnx.ModelProto) -> None:
    del model.graph.output[1]


@pytest.mark.parametrize("tamper", [fixed_size, other_name, missing_output])
def test_a_file_with_other_inputs_or_outputs_is_rejected(
    tamper: Callable[[onnx.ModelProto], None], exported: ExportedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load(exported.path)
    tamper(model)
    onnx.save(model, "other.onnx")

    with pytest.raises(ModelError, match=r"other\.onnx: its graph has changed"):
        OnnxPagePredictor(Path("other.onnx"))

    monkeypatch.setattr(onnx_safety, "graph_sha256", lambda _: exported.graph_sha256)
    with pytest.raises(ModelError, match=r"expected one input 'pages'"):
        OnnxPagePredictor(Path("other.onnx"))


def attention(pixels: str) -> bytes:
    """A graph that compares every pixel of a page, or of a row of the page, with every other."""
    shapes = {"page": ((0, -1, 1), (0, 1, -1)), "row": ((0, 0, -1, 1), (0, 0, 1, -1))}[pixels]
    sizes = ["n", *(None for _ in shapes[0][1:])]
    constants = [
        numpy_helper.from_array(np.array(shape, dtype=np.int64), f"shape{number}")
        for number, shape in enumerate(shapes)
    ]
    nodes = [
        helper.make_node("Cast", ["pages"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["pixels", "shape0"], ["down"]),
        helper.make_node("Reshape", ["pixels", "shape1"], ["across"]),
        helper.make_node("MatMul", ["down", "across"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "attention",
        [helper.make_tensor_value_info("pages", TensorProto.UINT8, ["n", "h", "w"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, sizes)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("pixels", ["page", "row"])
def test_work_that_grows_faster_than_the_pages_is_rejected(pixels: str) -> None:
    with pytest.raises(ModelError, match="its work grows faster than the pages"):
        onnx_safety.check(attention(pixels), name=Path("attention"))


class Offset:
    """A detector that adds an offset to the first scores and boxes above 0 of every page."""

    def __init__(self, detector: PagePredictor, output: str, offset: float) -> None:
        self.metadata, self.threads = detector.metadata, detector.threads
        self._detector, self._output, self._offset = detector, output, offset

    def __call__(self, pages: Images) -> PageOutputs:
        outputs = self._detector(pages)
        values = getattr(outputs, self._output).copy()
        is_peak: npt.NDArray[np.bool_] = outputs.scores.max(axis=1, keepdims=True) > 0.3
        values[np.broadcast_to(is_peak, values.shape)] += self._offset
        return outputs._replace(**{self._output: values})


@pytest.mark.parametrize(
    ("output", "offset"),
    [
        *(("scores", 0.01), ("scores", -1), ("scores", float("nan")), ("scores", float("inf"))),
        *(("boxes", 0.5), ("boxes", 1_000), ("boxes", float("nan"))),
    ],
)
def test_other_scores_or_boxes_fail_the_parity_check(
    output: str,
    offset: float,
    checkpoint: Path,
    split: datasets.Split,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(page_parity, "_SIZES", ((64, 192, 5), (32, 48, 2)))
    reference = models.open_page_predictor(checkpoint)

    result = page_parity.compare(reference, Offset(reference, output, offset), split)

    assert not result.holds
    assert result.to_json()["holds"] is False
    with pytest.raises(CheckFailedError, match=r"out\.onnx: not written: on 7 pages"):
        result.require("out.onnx")


def test_a_difference_within_float32_rounding_passes_the_parity_check(
    checkpoint: Path, split: datasets.Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_parity, "_SIZES", ((64, 192, 5), (32, 48, 2)))
    reference = models.open_page_predictor(checkpoint)

    result = page_parity.compare(reference, Offset(reference, "scores", 5e-6), split)

    assert result.holds
    assert 4e-6 < result.max_score_difference < 6e-6
