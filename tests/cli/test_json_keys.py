"""The JSON of every command has exactly the keys that are listed here."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer

from mnistctl.api import doctor
from mnistctl.cli import label
from mnistctl.cli.app import app
from mnistctl.datasets import catalog
from mnistctl.system import files
from tests.helpers import Cli, tiny_dataset

# The keys of these objects are data, such as the names of classes and packages.
DATA = {
    *("arch_args", "arguments", "by_class", "config", "datasets", "differences", "images", "settings"),
    "versions",
}

TRAIN = "train --dataset digits --device cpu --arch linear"
COMMANDS = {
    "train": f"{TRAIN} --epochs 1",
    "train --seeds": f"{TRAIN} --epochs 0.1 --seeds 2 --no-plots",
    "eval": "eval {run} --robustness --plots plots",
    "eval, numbers": "eval bundled-numbers --dataset digits --split test",
    "predict": "predict 3_digit.png --model {onnx} --labels-from-names",
    "predict --numbers": "predict 3_digit.png --model {onnx} --numbers",
    "predict, damaged picture": "predict damaged.png --model {onnx}",
    "label": "label photos --model {onnx}",
    "tune": "tune new --dataset digits --device cpu --arch linear --epochs 0.2 --trials 1 --confirm 1",
    "export": "export {run} --output new.onnx",
    "benchmark": "benchmark {onnx} --output plot.png",
    "ensemble": "ensemble a.safetensors b.safetensors",
    "info, checkpoint": "info {run}",
    "info, ONNX": "info {onnx}",
    "compare": "compare a.safetensors {onnx}",
    "plot": "plot runs/a",
    "runs": "runs",
    "data": "data digits --output sheet.png",
    "data --recipe": "data digits --recipe numbers --output sheet.png",
    "download": "download tiny --from source",
    "download --list": "download --list",
    "recipes": "recipes",
    "recipes NAME": "recipes fast",
    "archs": "archs",
    "doctor": "doctor --self-test",
}

RUN = """
    arch best_epoch calibrated_validation_loss chance_accuracy dataset device epochs parameters plots[]
    precision processes recipe run seed threads total_seconds train_accuracy train_loss train_seconds
    validation_accuracy validation_loss
"""
PARITY = """
    accuracy_loss argmax_agreement batch_sizes[] dataset disagreements
    disagreements_beyond_tolerance exported_accuracy holds images is_finite
    limits.disagreements_beyond_tolerance limits.max_familiarity_difference
    limits.max_logit_difference limits.max_probability_difference max_familiarity_difference
    max_logit_difference max_probability_difference mean_logit_difference
    preparation_difference reference_accuracy
    rejections_changed split
"""
MODEL = """
    arch arch_args.* bytes calibration_images card class_names[] config.* created dataset.name
    dataset.sha256 familiarity_layers[] familiarity_parameters format format_version git_commit
    members[] metrics.epoch
    metrics.calibrated_validation_loss metrics.finished metrics.learning_rate metrics.steps
    metrics.train_accuracy metrics.train_loss
    metrics.train_seconds metrics.validation_accuracy metrics.validation_loss model name parameters
    signature.familiarity signature.images signature.logits signature.probabilities task temperature
    threshold versions.*
"""


def inside(path: str, keys: str) -> str:
    """These keys inside another object."""
    return " ".join(path + key for key in keys.split())


KEYS: dict[str, str] = {
    "train": RUN,
    "train --seeds": f"""
        mean_train_seconds mean_validation_accuracy std_validation_accuracy {inside("runs[].", RUN)}
    """,
    "eval": """
        accuracy accuracy_interval[] calibration_error confusion[][] dataset images loss model
        most_confused[].images most_confused[].label most_confused[].predicted not_calibrated
        per_class[].f1 per_class[].images per_class[].label per_class[].precision per_class[].recall
        plots[] rejected reliability[].accuracy reliability[].confidence reliability[].images
        robustness[].accuracy robustness[].corruption robustness[].strength robustness[].unit split
    """,
    "predict": """
        [].box[] [].familiarity [].file [].label [].probability [].reason [].rejected [].top[].label
        [].top[].probability [].truth
    """,
    "predict --numbers": f"""
        [].file [].probability [].text [].lines[].probability [].lines[].text [].lines[].words[]
        {inside("[].lines[].digits[].", "box[] familiarity label probability reason rejected word")}
        {inside("[].lines[].digits[].top[].", "label probability")}
    """,
    "predict, damaged picture": "[].error [].file",
    "label": "by_class.* filed folder",
    "tune": f"""
        arch best config confirmed_accuracy confirmed_difference confirmed_std dataset folder front[]
        objectives[] planned_confirmations planned_trials plots[] study test_accuracy
        {
        inside(
            "confirmations[].",
            "run seed split_seed test_accuracy train_seconds validation_accuracy validation_loss",
        )
    }
        {
        inside(
            "trials[].",
            "epochs error number objectives.accuracy runs[] settings.* state train_seconds "
            "validation_accuracy validation_loss",
        )
    }
    """,
    "export": f"""
        [].bytes [].format [].graph_sha256 [].path {inside("[].parity.", PARITY)}
    """,
    "benchmark": """
        dataset formats[].accuracy formats[].bytes formats[].format formats[].images_per_second
        formats[].images_per_second_range[] formats[].latency_ms formats[].latency_p99_ms
        formats[].latency_range_ms[] formats[].load_seconds formats[].peak_mb formats[].reason
        formats[].status formats[].threads images machine model plots[] split versions.*
    """,
    "ensemble": """
        bytes calibrated_validation_loss members[] parameters path threshold validation_accuracy
    """,
    "info, checkpoint": f"{MODEL} export",
    "info, ONNX": f"""
        {MODEL} {inside("export.parity.", PARITY)}
        export.format export.graph_sha256 export.input export.ir_version export.opset
    """,
    "compare": """
        dataset differences.* images models[].accuracy models[].accuracy_interval[] models[].arch
        models[].bytes models[].format models[].loss models[].model models[].name models[].parameters
        models[].train_seconds pairs[].difference pairs[].first pairs[].only_first_right
        pairs[].only_second_right pairs[].p_value pairs[].second pairs[].significant split
    """,
    "plot": "plots[]",
    "runs": """
        [].arch [].best_epoch [].dataset [].epochs [].folder [].name [].planned_epochs [].recipe [].seed
        [].settings.* [].status [].train_seconds [].validation_accuracy [].validation_loss
    """,
    "data --recipe": """
    cut_off dataset digits.* empty_pages height median_digit_height pages plots[] recipe seed width
""",
    "eval, numbers": """
    accuracy confusion[][] dataset detection_precision detection_recall digits f1 found model
    most_confused[].digits most_confused[].label most_confused[].predicted not_calibrated
    page_accuracy page_accuracy_interval[] pages per_class[].digits per_class[].f1
    per_class[].label per_class[].precision per_class[].recall plots[] precision recall split threshold
""",
    "data": "class_names[] dataset duplicates images.* plots[]",
    "download": "[].bytes [].file [].path [].source [].status",
    "download --list": """
        [].citation [].classes[] [].files[] [].folder [].licence [].mirrors[] [].name [].on_disk
        [].summary
    """,
    "recipes": """
        [].changed[] [].deviation [].mean_test_accuracy [].mean_train_accuracy
        [].mean_validation_accuracy [].name [].published [].seeds [].settings.* [].std_test_accuracy
        [].summary [].system
    """,
    "recipes NAME": """
        changed[] deviation mean_test_accuracy mean_train_accuracy mean_validation_accuracy name
        published seeds settings.* std_test_accuracy summary system
    """,
    "archs": "[].arguments.* [].input_size [].multiply_adds [].name [].parameters [].summary [].task",
    "doctor": """
        cores cuda data_folder datasets.* devices[].bf16 devices[].cuda_graphs devices[].model
        devices[].name extras[].extra extras[].package extras[].version idle_threads.from_user
        idle_threads.in_force idle_threads.setting nvidia_driver problems[].fix
        problems[].problem python runs runs_folder self_test[].cuda_graph self_test[].device
        self_test[].exported self_test[].loss_difference self_test[].precision
        self_test[].problem self_test[].train_loss self_test[].train_seconds
        self_test[].validation_loss system threads versions.*
    """,
}


@pytest.fixture
def inputs(
    run_folder: Path,
    onnx_path: Path,
    picture: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, Path]:
    """The files that the commands use, in the working folder; the keys are placeholders."""
    Path("photos").mkdir()
    for name in ("3_digit.png", "photos/3_digit.png"):
        shutil.copy(picture, name)
    Path("damaged.png").write_bytes(b"\x89PNG")
    shutil.copytree(run_folder, "runs/a")
    for name in ("a.safetensors", "b.safetensors"):
        shutil.copy(run_folder / "model.safetensors", name)
    content = bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 3])
    Path("source").mkdir()
    Path("source/labels-idx1-ubyte").write_bytes(content)
    file = catalog.RawFile("labels-idx1-ubyte", len(content), files.sha256(content))
    digits = catalog.DATASETS["digits"]
    monkeypatch.setattr(catalog, "DATASETS", {"tiny": tiny_dataset(file), "digits": digits})
    monkeypatch.setattr(label, "_is_terminal", lambda: True)
    monkeypatch.setattr(typer, "getchar", lambda: "\r")
    monkeypatch.setattr(doctor, "_versions", lambda: {"rich": None})  # a problem on every machine
    return {"run": run_folder, "onnx": onnx_path}


def key_paths(value: Any, path: str = "") -> set[str]:
    """The paths to all values: a dot before a key, [] for the items of a list, * for keys in DATA."""
    if isinstance(value, list):
        nested = [key_paths(item, f"{path}[]") for item in value]
        return set().union(*nested) or {f"{path}[]"}
    if not isinstance(value, dict):
        return {path}
    if path.rpartition(".")[2] in DATA or (path == "digits" and isinstance(value, dict)):
        return {f"{path}.*"}
    nested = [key_paths(item, f"{path}.{key}".removeprefix(".")) for key, item in value.items()]
    return set().union(*nested) or {path}


@pytest.mark.parametrize("case", COMMANDS)
def test_json_has_exactly_the_listed_keys(case: str, cli: Cli, inputs: dict[str, Path]) -> None:
    arguments = [word.format(**inputs) for word in COMMANDS[case].split()]

    answer = cli(*arguments, "--json")

    assert key_paths(json.loads(answer.out)) == set(KEYS[case].split())


def test_every_command_with_json_is_listed() -> None:
    names = {command.name for command in app.registered_commands} - {"serve"}  # it prints no result

    assert {case.split()[0].strip(",") for case in COMMANDS} == names
    assert set(KEYS) == set(COMMANDS)
