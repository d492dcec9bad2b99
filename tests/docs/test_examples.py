"""Every example of the README and of the documentation runs, or is checked as far as it can be here."""

import contextlib
import csv
import importlib.util
import io
import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import typer.main
from PIL import Image

import build_reference
import mnistctl
from mnistctl import datasets
from mnistctl.api import models, picture_requests
from mnistctl.cli.app import app
from mnistctl.errors import UsageError
from mnistctl.models import formats
from mnistctl.models.onnx_page_predictor import OnnxPagePredictor
from mnistctl.pages import compose, glyphs
from mnistctl.settings import architectures, recipes
from mnistctl.tuning import search_space
from tests.docs.examples import PAGES, Block, Command, blocks, commands
from tests.helpers import ROOT, TINY_TRAINING, Answer, Cli
from tests.serving.server import Server

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SHELL = ("bash", "console")

# Blocks that other tests check.
CHECKED_ELSEWHERE = {
    "javascript": "below: needs npm, and is slow",
    "cpp": "below: needs a compiler, and is slow",
    "yaml": "tests/serving/test_deployment.py",
    "text": "layouts of folders, and the help of commands, which test_reference.py compares",
    "{toctree}": "test_site.py",
}
GENERATED = {ROOT / "docs" / "reference" / name for name in build_reference.PAGES}  # test_reference.py

# Programs that change the machine or need another one, and why they are not run.
NOT_RUN = {
    "pip": "installs packages; the extras and groups are checked",
    "nox": "installs packages; the sessions are checked",
    "pytest": "would run this test",
    ".": "activates an environment",
    "torchrun": "starts several processes, as tests/test_distributed.py does; the options are checked",
    "docker": "needs a daemon; tests/serving/test_deployment.py checks the commands of the server",
    "kubectl": "needs a cluster",
    "optuna-dashboard": "another program, which runs until it is stopped",
    "systemctl": "needs systemd, and root",
    "install": "writes to /etc",
    "/opt/mnistctl/bin/pip": "writes to /opt",
    "python3": "writes to /opt, or a token, as the same command with `python` does",
    "python": "makes an environment, or installs into it",
}
# Commands of mnistctl that are not run, only parsed.
PARSED = {
    "label": "asks for keys; tests/cli/test_label.py presses them",
    "serve": "runs until it is stopped; the examples with curl start a server",
    "download": "needs a network, but for --list",
}
# Beginnings of commands that take long: they run with `-m slow`, and are parsed otherwise.
SLOW = (
    "benchmark",
    "compare",
    "ensemble",
    "eval ensemble.safetensors",
    "eval reader.html",
    "eval mnist-cnn-1 --robustness",
    "eval numbers",
    "export",
    "train --seeds",
    "train --subset 1000 --seeds",
    "train --track",
    "train --recipe numbers",
)
ADAPTS = "train --recipe numbers --init"  # needs MNIST beside the folder; tests/nn/test_own_pictures.py
PLACEHOLDERS = {"RECIPE": "linear", "SEED": "1", "RUN": "mnist-cnn-1"}

# Appended to commands so that they are short, and need no download.
ON_DIGITS = ("--dataset", "digits")
SHORT = ("--epochs", "0.1", "--no-plots", "--quiet")
SHORT_RESUMED = ("--trials", "3", "--workers", "1", "--no-plots", "--quiet")
SHORT_SEARCH = (*ON_DIGITS, "--trials", "2", "--confirm", "1", "--workers", "1", *SHORT)
SHORT_NUMBERS = ("--batch-size", "4", "--epochs", "0.01", "--no-plots", "--quiet")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pictures, folders and runs that the examples name."""
    folder = tmp_path_factory.mktemp("examples")
    split = datasets.load("digits", "test")
    with contextlib.chdir(folder):
        with Image.open(picture_requests.EXAMPLE) as example:
            example.convert("RGB").save("photo.jpg", quality=85)
        for name in ("digit.png", "first.png", "second.jpg", "scans/7_0001.png", "photos/2.png"):
            Path(name).parent.mkdir(exist_ok=True)
            draw(split.images[split.labels == 7][0], name)
        for number in range(len(split.labels)):
            label = int(split.labels[number])
            if label < 3:
                Path(f"mine/{label}").mkdir(parents=True, exist_ok=True)
                draw(split.images[number], f"mine/{label}/{number}.png")
        page = importlib.import_module("example_pictures").draw_page(split, ("1984", "2026"))
        Path("forms").mkdir()
        for name in ("page.jpg", "page.png", "cheque.jpg", "forms/1.png", "forms/2.png"):
            page.crop((0, 0, page.width, page.height // 2)).save(name)
        for name, rows in {
            "truth.csv": [("scans/7_0001.png", "7")],
            "numbers.csv": [("scans/7_0001.png", "7")],
            "forms/labels.csv": [("1.png", "1984"), ("2.png", "1984")],
        }.items():
            with Path(name).open("w", newline="") as file:
                csv.writer(file).writerows([("file", "label"), *rows])
        shutil.copytree("mine", "labelled")
        compose_page().tofile("page.raw")
        for name in ("mlp-128", "lenet5", "lr-1", "lr-2", "careful", "mnist-cnn-1"):
            mnistctl.train(**TINY_TRAINING | {"epochs": 1}, name=name)
        shutil.copy(models.bundled(formats.ONNX), "model.onnx")
        shutil.copy(models.bundled(formats.ONNX), "runs/mnist-cnn-1/model.onnx")
        shutil.copy(models.bundled(formats.ONNX, task=architectures.NUMBERS), "numbers.onnx")
    return folder


def compose_page() -> npt.NDArray[np.uint8]:
    """A page of digits, uint8 (64, 192)."""
    train = datasets.load("digits", "train")
    bank = glyphs.build_bank(train.images, train.labels, size=100, seed=0)
    return compose.compose(bank, (0, 1)).image


def draw(image: npt.NDArray[np.uint8], name: str) -> None:
    """Write a digit as a scanned picture: dark on light, enlarged."""
    Image.fromarray(255 - image).resize((280, 280), Image.Resampling.BICUBIC).save(name)


class Runner:
    """Runs the examples of a page in the working folder.

    Args:
        cli: runs a command of mnistctl in this process.
        with_slow: whether to run commands that take long.
    """

    def __init__(self, cli: Cli, *, with_slow: bool) -> None:
        self._cli = cli
        self._with_slow = with_slow
        self._stack = contextlib.ExitStack()
        self._address: str | None = None

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def run(self, block: Block) -> None:
        """Run a block, or check it as far as it can be."""
        if block.saved_as:
            Path(block.saved_as).write_text(block.text)
        if block.language == "toml":
            assert block.saved_as, "a settings file without a name is not checked"
            build_settings(tomllib.loads(block.text))
        elif block.language == "python":
            self._run_python(block)
        elif block.language in SHELL:
            for command in commands(block):
                self._run_command(command)
        else:
            assert block.language in CHECKED_ELSEWHERE, f"nothing checks a block of '{block.language}'"

    def _run_python(self, block: Block) -> None:
        code = block.text
        if "127.0.0.1:8000" in code:
            code = code.replace("127.0.0.1:8000", self.address)
        if not self._with_slow:
            code = re.sub(r"\bepochs=\d+", "epochs=0.2", code)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "example", "exec"), {"__name__": "__main__"})
        if block.output:
            assert is_like(printed.getvalue(), block.output), printed.getvalue()

    def _run_command(self, command: Command) -> None:
        if command.program == "mnistctl":
            self._run_mnistctl(command)
        elif command.program == "curl" or command.words[:2] == ["python", "-c"]:
            self._run_in_shell(command)
        else:
            assert command.program in NOT_RUN, f"nothing runs '{command.program}'"
            check_without_running(command)

    def _run_mnistctl(self, command: Command) -> None:
        arguments = [PLACEHOLDERS.get(word, word) for word in command.words[1:]]
        parse(arguments)
        line = " ".join(arguments)
        if (arguments[0] in PARSED and "--list" not in arguments) or "--storage" in arguments:
            return
        if line.startswith(SLOW) and not self._with_slow:
            return
        if "--server" in arguments:
            arguments = [word.replace("localhost:8000", self.address) for word in arguments]
        if line.startswith(ADAPTS):
            return
        answer = self._cli(*arguments, *extra(arguments))
        assert answer.code == 0, (line, answer.err)
        if command.target:
            with Path(command.target).open("a" if command.appends else "w") as file:
                file.write(answer.out)
        if command.output and "bundled" in arguments:
            check_output(answer, command.output)

    def _run_in_shell(self, command: Command) -> None:
        text = command.text
        for address in ("https://HOST:8000", "localhost:8000"):
            text = text.replace(address, f"http://{self.address}") if address in text else text
        process = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=False)
        assert process.returncode == 0, process.stderr
        if command.program == "curl":
            assert '"label"' in process.stdout or '"text"' in process.stdout, process.stdout

    @property
    def address(self) -> str:
        """The address of a server of the bundled models; it is started on first use."""
        if self._address is None:
            server = self._stack.enter_context(Server(Path.cwd(), "bundled"))
            self._address = f"127.0.0.1:{server.port}"
        return self._address


def parse(arguments: list[str]) -> None:
    """Check that a command of mnistctl exists, with its options."""
    group: Any = typer.main.get_command(app)
    name, *options = arguments
    group.commands[name].make_context(name, [*options])


def build_settings(values: dict[str, Any]) -> None:
    """Check the keys and the values of a settings file."""
    search = values.pop("search", {})
    settings = recipes.find_recipe("cnn").replace(**values)
    search_space.resolve(search, settings)


def extra(arguments: list[str]) -> tuple[str, ...]:
    """Options that make a command short, and keep it from downloading."""
    name, *options = arguments
    if name == "train" and "--resume" in options:
        return SHORT[2:]
    numbers = "numbers" in options
    if name == "tune":
        return () if "--show" in options else SHORT_RESUMED if "--resume" in options else SHORT_SEARCH
    if name == "train":
        dataset = () if "--dataset" in options and "mnist" not in options else ON_DIGITS
        return (*dataset, *(SHORT_NUMBERS if numbers else SHORT))
    if name == "export":
        return (*ON_DIGITS, "--force")
    if (name == "data" and numbers) or name == "benchmark":
        return ON_DIGITS
    return (*ON_DIGITS, "--no-plots") if name == "eval" else ()


def check_without_running(command: Command) -> None:
    """Check what the command names."""
    words = command.words
    if "pip" in words or words[0].endswith("/pip"):
        for extras in re.findall(r"\[([\w,]+)\]", command.text):
            assert set(extras.split(",")) <= PROJECT["project"]["optional-dependencies"].keys()
        for option, group in itertools.pairwise(words):
            assert option != "--group" or group in PROJECT["dependency-groups"]
    elif words[0] == "nox":
        sessions = re.findall(r"^def (\w+)", (ROOT / "noxfile.py").read_text(), re.MULTILINE)
        assert words[words.index("-s") + 1] in sessions
    elif words[0] == "torchrun":
        parse(words[words.index("mnistctl") + 1 :])


def is_like(actual: str, expected: str) -> bool:
    """Whether two outputs agree, apart from numbers and spaces; `…` stands for any text, or none."""
    found, pattern = (re.sub(r"\d[\d.,]*", "0", " ".join(text.split())) for text in (actual, expected))
    pattern = re.escape(pattern).replace(r"…\ ", r"(?:.*\ )?").replace(r"\ …", r"(?:\ .*)?")
    return re.fullmatch(pattern.replace("…", ".*"), found) is not None


def check_output(answer: Answer, expected: str) -> None:
    """Check that a command printed what the page shows; see `is_like`."""
    printed = f"{answer.err}\n{answer.out}"
    assert is_like(printed, expected), printed


def with_commands(pages: list[Path]) -> list[Path]:
    return [page for page in pages if page not in GENERATED and blocks(page)]


@pytest.fixture
def runner(
    cli: Cli, template: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Runner]:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    with Runner(cli, with_slow="slow" in request.keywords) as runner:
        yield runner


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", with_commands(PAGES), ids=name_of)
def test_the_examples_run(page: Path, runner: Runner) -> None:
    for block in blocks(page):
        runner.run(block)


def takes_long(block: Block) -> bool:
    if block.language not in SHELL:
        return "epochs=" in block.text
    return any(command.text.removeprefix("mnistctl ").startswith(SLOW) for command in commands(block))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # of MLflow
@pytest.mark.parametrize(
    "page", [page for page in with_commands(PAGES) if any(map(takes_long, blocks(page)))], ids=name_of
)
def test_the_examples_that_take_long_run(page: Path, runner: Runner) -> None:
    for block in blocks(page):
        runner.run(block)


@pytest.mark.slow
@pytest.mark.mnist
@pytest.mark.parametrize("name", ["README.md", "docs/tutorial/first-session.md"])
def test_a_session_prints_what_the_page_shows(name: str, cli: Cli) -> None:
    with Image.open(picture_requests.EXAMPLE) as example:
        example.convert("RGB").save("photo.jpg", quality=85)

    for block in blocks(ROOT / name):
        for command in commands(block) if block.language == "console" else ():
            if command.program == "mnistctl":
                answer = cli(*command.words[1:])
                check_output(answer, command.output or "")


def test_outputs_are_compared_in_all_but_numbers_and_spaces() -> None:
    assert is_like("7  99.98%\nnext:\n  train", "7 98.1%\n…")
    assert is_like("saved", "…\nsaved\n…")
    assert not is_like("digit.png 7", "photo.jpg 7")
    assert not is_like("accuracy 99%, rejected 1%", "accuracy 99%")


def test_an_option_that_does_not_exist_is_found() -> None:
    with pytest.raises(UsageError):
        parse(["train", "--epohcs", "3"])


# --- use-exports.md

TEXT = (ROOT / "docs" / "how-to" / "use-exports.md").read_text(encoding="utf-8")


def example(language: str, *, number: int = 1) -> str:
    return TEXT.split(f"```{language}\n")[number].split("```")[0]


@pytest.fixture
def folder(
    tmp_path: Path,
    onnx_path: Path,
    digits_test: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]],
) -> Path:
    """A folder with the model and the image that the examples use."""
    shutil.copy(onnx_path, tmp_path / "model.onnx")
    digits_test[0][0].tofile(tmp_path / "digit.raw")
    return tmp_path


def check(answer: str, folder: Path) -> None:
    """Check that an example printed the outputs of the model."""
    image = np.fromfile(folder / "digit.raw", np.uint8).reshape(1, 28, 28)
    outputs = models.open_predictor(folder / "model.onnx")(image)
    label, probability, familiarity = answer.split()

    assert int(label) == outputs.logits.argmax()
    assert float(probability) == pytest.approx(outputs.probabilities.max(), abs=1e-4)
    assert float(familiarity) == pytest.approx(outputs.familiarity[0], abs=1e-4)


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    variables = {**os.environ, **environment}
    process = subprocess.run(
        [str(part) for part in command], cwd=folder, env=variables, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_the_python_example_has_five_lines_and_runs(folder: Path) -> None:
    code = example("python", number=2)

    assert len([line for line in code.splitlines() if line]) == 5
    check(run(sys.executable, "-c", code, folder=folder), folder)


def test_the_example_for_numbers_prints_the_digits_of_the_page(tmp_path: Path) -> None:
    model = models.bundled(formats.ONNX, task=architectures.NUMBERS)
    page = compose_page()
    page.tofile(tmp_path / "page.raw")
    shutil.copy(model, tmp_path / "numbers.onnx")

    lines = run(sys.executable, "-c", example("python", number=3), folder=tmp_path).splitlines()

    outputs = OnnxPagePredictor(model)(page[None])
    likely = outputs.scores[0].max(axis=0) > 0.3
    assert len(lines) == likely.sum() > 0
    assert [int(line.split()[0]) for line in lines] == outputs.scores[0].argmax(axis=0)[likely].tolist()
    boxes = [[float(side) for side in line.split()[2:]] for line in lines]
    np.testing.assert_allclose(boxes, outputs.boxes[0][:, likely].T, atol=1e-2)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("npm"), reason="Node.js is not installed")
def test_the_javascript_example_runs(folder: Path) -> None:
    (folder / "package.json").write_text("{}")
    npm = shutil.which("npm") or ""
    run(npm, "install", "--ignore-scripts", "--no-audit", "onnxruntime-node", folder=folder)
    (folder / "read.js").write_text(example("javascript"))

    check(run("node", "read.js", folder=folder), folder)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler is installed")
def test_the_cpp_example_runs(folder: Path) -> None:
    openvino = Path(pytest.importorskip("openvino").__file__).parent
    (library,) = (openvino / "libs").glob("libopenvino.so.*")
    (folder / "read.cpp").write_text(example("cpp"))
    build = ("g++", "-std=c++17", "-O1", "-I", openvino / "include", "read.cpp", "-o", "read", library)
    run(*build, f"-Wl,-rpath,{library.parent}", folder=folder)

    check(run("./read", folder=folder, LD_LIBRARY_PATH=str(library.parent)), folder)
