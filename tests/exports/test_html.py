"""The HTML page as an export: its model, and its script in V8. tests/web has it in a browser."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

import mnistctl
from mnistctl import datasets, exports, web
from mnistctl.api import export, models
from mnistctl.errors import ModelError, UsageError
from mnistctl.exports import parity
from mnistctl.models import checkpoint, formats, html_model, html_page
from mnistctl.models.metadata import Metadata
from mnistctl.nn import classifier, nets
from mnistctl.nn.classifier import Classifier, Ensemble
from mnistctl.nn.torch_predictor import TorchPredictor
from mnistctl.settings import architectures
from tests.helpers import Cli
from tests.web import replay

MiniRacer = pytest.importorskip("py_mini_racer").MiniRacer
from mnistctl.exports import html  # noqa: E402

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "linear": {},
    "mlp": {"batch_norm": True},
    "lenet5": {},
    "cnn": {"batch_norm": True, "same_padding": True, "hidden": [32], "strides": [2, 1]},
}


def build(arch: str, arguments: dict[str, Any]) -> Classifier:
    """A net with fresh weights that measures familiarity at all its layers."""
    net = nets.build(arch, arch_args=architectures.resolve(arch, arguments), classes=10)
    layers = [name for name, item in net.named_modules() if isinstance(item, nn.Linear | nn.Conv2d)]
    fresh = Classifier(net.eval(), temperature=1.7, familiarity_layers=layers[1:])
    with torch.no_grad():
        _, features = fresh.features(torch.zeros(2, 1, 28, 28))
    fresh.familiarity = classifier.familiarity_head(features.shape[1])
    return fresh


def source_of(net: nn.Module, path: Path) -> exports.Source:
    reference = TorchPredictor(net, checkpoint.load(path).metadata, device=torch.device("cpu"))  # type: ignore[arg-type]
    return exports.Source(reference, precision=formats.FLOAT16)


@pytest.mark.parametrize("name", [*ARCHITECTURES, "ensemble"])
def test_the_page_gives_the_outputs_of_every_architecture(
    name: str, checkpoint_path: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    names = ["lenet5", "cnn"] if name == "ensemble" else [name]
    members = [build(arch, ARCHITECTURES[arch]) for arch in names]
    source = source_of(Ensemble(members) if name == "ensemble" else members[0], checkpoint_path)
    built = html.build(source)
    built.save(tmp_path / "page.html", source.predictor.metadata)

    page = built.open(tmp_path / "page.html")
    result = parity.compare(
        source.predictor, page, datasets.load("digits", "test"), kind=formats.FORMATS["onnx-fp16"]
    )

    assert result.max_logit_difference < 5e-3  # what float16 takes from the weights
    assert result.max_familiarity_difference < 5e-3
    images = datasets.load("digits", "test").images[:20]
    as_onnx = models.open_predictor(tmp_path / "page.html")(images)
    for from_page, from_onnx in zip(page(images), as_onnx, strict=True):
        np.testing.assert_allclose(from_page, from_onnx, atol=1e-5)


def test_the_exporter_knows_the_operators_of_the_page(page_of_run: Path) -> None:
    engine = MiniRacer()
    engine.eval(web.script())

    names = json.loads(str(engine.eval("JSON.stringify(Object.keys(OPERATORS))")))

    assert set(names) == html_page.OPERATORS


def test_a_net_with_another_operator_is_refused(checkpoint_path: Path) -> None:
    net = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(784, 16), nn.GELU(), nn.Linear(16, 10)))

    with pytest.raises(
        UsageError, match=r"cannot run the operator '\w+' of this net; other formats: onnx, "
    ):
        html.build(source_of(net.eval(), checkpoint_path))


def test_grouped_convolutions_are_refused(checkpoint_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, groups=2), nn.Flatten())
    net.append(nn.Linear(4 * 24 * 24, 10))

    with pytest.raises(UsageError, match="operator 'Conv' with group = 2"):
        html.build(source_of(Classifier(net.eval()), checkpoint_path))


def test_an_input_of_float32_is_refused(cli: Cli, checkpoint_path: Path) -> None:
    answer = cli("export", checkpoint_path, "--format", "html", "--input", "float32")

    assert answer.code == 2
    assert "--input float32: an HTML page prepares its images itself" in answer.err
    assert not (checkpoint_path.parent / "model.html").exists()


@pytest.fixture(scope="module")
def page_of_run(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checked page of a net that was trained on the bundled digits."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    mnistctl.export(run_folder, format="html", output=path)
    return path


def test_the_check_covers_the_preparation_of_drawings(page_of_run: Path) -> None:
    check = metadata_of(page_of_run)["export"]["parity"]

    assert 0 < check["preparation_difference"] < 0.1
    assert check["limits"]["preparation_difference"] == 2
    assert metadata_of(page_of_run)["export"]["precision"] == "int8"


def test_weights_in_float16_are_tried_where_int8_fails(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = parity._limits
    int8 = formats.FORMATS["html"]

    def strict(kind: formats.Format, **options: Any) -> dict[str, float]:
        return {"accuracy_loss": -2.0} if kind is int8 else limits(kind, **options)

    monkeypatch.setattr(parity, "_limits", strict)

    mnistctl.export(run_folder, format="html", output=tmp_path / "page.html")

    assert metadata_of(tmp_path / "page.html")["export"]["precision"] == "float16"


def metadata_of(page: Path) -> dict[str, Any]:
    return html_model.read(page).metadata


def test_the_page_is_self_contained(page_of_run: Path) -> None:
    text = page_of_run.read_text("utf-8")
    text = re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.DOTALL)

    assert "default-src 'none'" in text
    assert "connect-src" not in text  # its script can ask a server, but this page may not
    assert not re.findall(r"https?://|\beval\(|new Function|\bimport\b", text)
    assert re.findall(r'(?:src|href)="([^"]*)"', text) == ["data:,"]
    assert "{" not in re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.DOTALL)


def test_no_text_of_the_metadata_becomes_html(page_of_run: Path, tmp_path: Path) -> None:
    model = html_model.read(page_of_run)
    model.metadata["card"] = "</script><script>alert(1)</script>"
    model.metadata["dataset"]["name"] = "<b>mine</b>"
    metadata = Metadata.from_json(model.metadata)
    footer = html_page.footer(html_page.describe(metadata))
    text = web.build_page(model=msgspec.json.encode(model).decode(), footer=footer)
    (tmp_path / "page.html").write_text(text, "utf-8")

    assert text.count("<script") == 2
    assert "&lt;b&gt;mine&lt;/b&gt;" in text
    assert html_model.read(tmp_path / "page.html").metadata["card"] == model.metadata["card"]


def changed_page(page: Path, change: Any) -> bytes:
    """The page with another model."""
    model = html_model.read(page)
    change(model)
    return web.build_page(model=msgspec.json.encode(model).decode(), footer="").encode()


def first_tensor(model: html_model.HtmlModel) -> html_model.StoredTensor:
    return next(item for item in model.graph.tensors.values() if item.type == "int8")


DAMAGES = {
    "an offset beyond the weights": lambda model: setattr(first_tensor(model), "offset", 1 << 40),
    "a negative offset": lambda model: setattr(first_tensor(model), "offset", -4),
    "a huge shape": lambda model: setattr(first_tensor(model), "shape", [1 << 40, 1 << 40]),
    "a negative shape": lambda model: setattr(first_tensor(model), "shape", [-1, 4]),
    "no scales": lambda model: setattr(first_tensor(model), "scales", None),
    "no weights": lambda model: setattr(model, "weights", ""),
    "weights that are not Base64": lambda model: setattr(model, "weights", "§"),
    "tensors that share their bytes": lambda model: model.graph.tensors.update(
        {str(number): first_tensor(model) for number in range(1_000)}
    ),
    "no nodes": lambda model: model.graph.nodes.clear(),
    "another operator": lambda model: setattr(model.graph.nodes[0], "op", "Loop"),
    "an attribute of the wrong type": lambda model: model.graph.nodes[5].attributes.update(group=[1]),
    "no classes": lambda model: model.metadata.pop("class_names"),
    "another weight": lambda model: setattr(model, "weights", "AAAA" + model.weights[4:]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_page_with_a_damaged_model_is_refused(damage: str, page_of_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.html"
    path.write_bytes(changed_page(page_of_run, DAMAGES[damage]))

    with pytest.raises(ModelError, match=r"damaged\.html"):
        models.open_predictor(path)


@pytest.mark.parametrize("depth", [40, 900, 995, 100_000])
def test_a_page_with_deep_metadata_is_refused(depth: int, page_of_run: Path, tmp_path: Path) -> None:
    content = changed_page(page_of_run, lambda model: model.metadata.update(config={"": {}}))
    path = tmp_path / "deep.html"
    path.write_bytes(content.replace(b'{"":{}}', b'{"":' * depth + b"{}" + b"}" * depth))

    with pytest.raises(ModelError, match=r"deep\.html"):
        models.open_predictor(path)


@pytest.mark.parametrize("share", [0.001, 0.5, 0.9])
def test_a_truncated_page_is_refused(share: float, page_of_run: Path, cli: Cli) -> None:
    content = page_of_run.read_bytes()
    Path("short.html").write_bytes(content[: int(share * len(content))])

    answer = cli("info", "short.html")

    assert answer.code == 4
    assert answer.err.count("\n") == 1


def test_the_page_of_the_documentation_is_up_to_date() -> None:
    path = Path(__file__).parents[2] / "docs" / "reader.html"
    text = path.read_text("utf-8")
    source = export.open_source(checkpoint.load(models.bundled(formats.SAFETENSORS)), None, None)
    assert isinstance(source, exports.Source)
    bundled = html.build(source)

    assert web.script_of(text).strip() == web.script().strip()
    assert web.source("style.css") in text
    assert html_model.read(path).graph == bundled._page._graph


@pytest.mark.mnist
@pytest.mark.slow
def test_digits_of_mnist_that_a_pen_writes_again_are_read_in_v8(tmp_path: Path) -> None:
    mnistctl.export("bundled", format="html", output=tmp_path / "page.html")
    page = html.V8Predictor(tmp_path / "page.html")
    digits = datasets.load("mnist", "test")

    images = [
        page.prepare(replay.draw(replay.strokes_of(image), 196)) for image in digits.images[:1000]
    ]
    labels = page(np.stack(images)).logits.argmax(axis=1)

    assert (labels == digits.labels[:1000]).mean() >= 0.99
    assert (tmp_path / "page.html").stat().st_size <= 600_000
