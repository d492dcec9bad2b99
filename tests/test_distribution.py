"""The wheel and the source distribution hold everything, and work in a fresh environment."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import mnistctl
from tests.helpers import ROOT

pytestmark = pytest.mark.slow

TIMEOUT_S = 120
VERSION = mnistctl.__version__
IN_SDIST = {
    *("CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "PKG-INFO", "README.md", "SECURITY.md"),
    *("constraints.txt", "docs", "noxfile.py", "pyproject.toml", "scripts", "src", "tests"),
    ".gitignore",  # hatchling adds it
}
# A small selection that reads the documents, the data files of the package and the scripts.
TESTS = ("tests/settings/test_recipes.py", "tests/docs/test_reference.py", "tests/test_imports.py")


def run(*command: str | Path, folder: Path) -> str:
    """The output of a command that sees nothing of this checkout."""
    hidden = ("PYTHONPATH", "MNISTCTL_", "COVERAGE_", "PYTEST_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(hidden)}
    result = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def files_below(folder: Path) -> Iterator[str]:
    """The paths of all files, relative to the folder, without Python's caches."""
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(folder).as_posix()


def programs(environment: Path) -> Path:
    return environment / ("Scripts" if os.name == "nt" else "bin")


def install(source: Path, environment: Path) -> Path:
    """Install into a fresh environment that borrows the dependencies of this one; its programs."""
    run(sys.executable, "-m", "venv", "--without-pip", environment, folder=environment.parent)
    (site_packages,) = {
        *environment.glob("lib/python*/site-packages"),
        *environment.glob("Lib/site-packages"),
    }
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_packages / "borrowed.pth").write_text("\n".join(borrowed))
    python = programs(environment) / "python"
    # The borrowed packages may include mnistctl itself, which counts as installed otherwise.
    options = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", *options)
    run(*pip, source, folder=environment.parent)
    return programs(environment)


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("distributions")
    run(sys.executable, "-m", "hatchling", "build", "--directory", folder, folder=ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    return distributions / f"mnistctl-{VERSION}-py3-none-any.whl"


@pytest.fixture(scope="module")
def unpacked(distributions: Path) -> Path:
    """The content of the source distribution."""
    with tarfile.open(distributions / f"mnistctl-{VERSION}.tar.gz") as archive:
        archive.extractall(distributions, filter="data")
    return distributions / f"mnistctl-{VERSION}"


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())

    metadata = {name for name in names if name.startswith(f"mnistctl-{VERSION}.dist-info/")}
    assert names - metadata == set(files_below(ROOT / "src"))
    licences = {name.rpartition("/licenses/")[2] for name in metadata if "/licenses/" in name}
    assert licences == {"LICENSE", "src/mnistctl/datasets/DIGITS-LICENSE.md"}


def test_the_source_distribution_holds_what_the_tests_need_and_no_leftovers(unpacked: Path) -> None:
    names = set(files_below(unpacked))

    assert {path.name for path in unpacked.iterdir()} == IN_SDIST
    for folder in ("src", "tests", "scripts"):
        assert set(files_below(unpacked / folder)) == set(files_below(ROOT / folder))
    folders = {part for name in names for part in name.split("/")[:-1]}
    assert not folders & {"_build", "dist", "mlruns", "node_modules", "runs", "wandb"}


def test_the_wheel_builds_from_the_source_distribution_with_the_same_files(
    wheel: Path, unpacked: Path, tmp_path: Path
) -> None:
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, folder=unpacked)

    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(tmp_path / wheel.name) as second:
        assert first.namelist() == second.namelist()
        for name in first.namelist():
            assert first.read(name) == second.read(name), name


def test_the_wheel_trains_a_model_and_reads_a_picture_in_a_fresh_environment(
    wheel: Path, tmp_path: Path
) -> None:
    mnistctl_program = install(wheel, tmp_path / "environment") / "mnistctl"

    version = run(mnistctl_program, "--version", folder=tmp_path)
    run(mnistctl_program, "train", "--dataset", "digits", "--epochs", "0.2", folder=tmp_path)
    shutil.rmtree(tmp_path / "runs")  # the bundled model reads the example
    answer = run(mnistctl_program, "predict", "--example", folder=tmp_path)

    assert version.strip() == f"mnistctl {VERSION}"
    assert " 7 " in answer
    assert str(tmp_path) in answer  # the example of this environment


def test_the_unpacked_source_distribution_installs_and_passes_tests(
    unpacked: Path, tmp_path: Path
) -> None:
    python = install(unpacked, tmp_path / "environment") / "python"

    options = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    output = run(python, "-m", "pytest", *options, *TESTS, folder=unpacked)

    assert " passed" in output
    place = run(python, "-c", "import mnistctl; print(mnistctl.__file__)", folder=tmp_path)
    assert str(tmp_path) in place
