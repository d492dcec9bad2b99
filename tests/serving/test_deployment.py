"""The files in docs/deploy agree with the server, with each other and with docs/how-to/deploy.md."""

import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from mnistctl.api import models
from mnistctl.cli.app import app
from mnistctl.errors import UsageError
from mnistctl.models import formats
from mnistctl.serving import gate
from mnistctl.serving.options import ServeOptions
from tests.helpers import ROOT, Cli
from tests.serving.server import EXAMPLE, EXAMPLE_LABEL, Server, free_port

FOLDER = ROOT / "docs" / "deploy"
PAGE = (ROOT / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8")
UNIT = (FOLDER / "mnistctl.service").read_text(encoding="utf-8")
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
KUBERNETES = (FOLDER / "kubernetes.yaml").read_text(encoding="utf-8")
KSERVE = (FOLDER / "kserve.yaml").read_text(encoding="utf-8")

NOT_INSTALLED = ("torch", "torchvision", "onnxscript", "matplotlib")
MAX_SIZE_ERROR = 0.1  # of the size in docs/how-to/deploy.md
PIP_SECONDS = 600


def join_lines(text: str) -> Iterator[str]:
    """The lines of a Dockerfile or a unit: continued lines in one, without comments."""
    parts: list[str] = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            yield "".join(parts)
            parts = []


def instructions(name: str) -> list[str]:
    """The arguments of every instruction of this name in the Dockerfile."""
    found = [line.partition(" ") for line in join_lines(DOCKERFILE)]
    return [arguments for word, _, arguments in found if word == name]


def settings(name: str) -> list[str]:
    """The values of a setting in the systemd unit."""
    found = [line.partition("=") for line in join_lines(UNIT)]
    return [value for key, _, value in found if key == name]


def pod() -> Any:
    return next(
        item["spec"]["template"]["spec"]
        for item in yaml.safe_load_all(KUBERNETES)
        if item["kind"] == "Deployment"
    )


def container() -> Any:
    (only,) = pod()["containers"]
    return only


def probes() -> dict[str, Any]:
    return {name: item["httpGet"] for name, item in container().items() if name.endswith("Probe")}


def options_of(command: list[str]) -> dict[str, Any]:
    """The options of a command `mnistctl serve`, with the defaults of those that are not given.

    Raises:
        UsageError: there is no such option.
    """
    program, name, *arguments = command
    assert (Path(program).name, name) == ("mnistctl", "serve")
    group: Any = typer.main.get_command(app)
    parameters: dict[str, Any] = group.commands[name].make_context(name, arguments).params
    return parameters


COMMANDS = {
    "mnistctl.service": shlex.split(settings("ExecStart")[0]),
    "Dockerfile": json.loads(instructions("CMD")[0]),
    "kubernetes.yaml": container()["args"],
}


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    systemd_analyze = shutil.which("systemd-analyze")
    if systemd_analyze is None:
        pytest.skip("systemd-analyze is not installed")
    (tmp_path / "true").symlink_to(shutil.which("true") or "")  # systemd looks for the program
    unit = tmp_path / "mnistctl.service"
    unit.write_text(UNIT.replace(COMMANDS["mnistctl.service"][0], str(tmp_path / "true")))

    result = subprocess.run(
        [systemd_analyze, "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )

    assert (result.returncode, result.stderr) == (0, "")  # it ends with 0 for unknown settings too


def test_the_unit_leaves_the_workers_to_the_main_process() -> None:
    assert settings("KillMode") == ["mixed"]
    assert settings("Restart") == ["on-failure"]
    assert settings("DynamicUser") == ["yes"]


def test_the_unit_reads_the_token_from_a_credential() -> None:
    (credential,) = settings("LoadCredential")
    name, _, _ = credential.partition(":")

    token_file = options_of(COMMANDS["mnistctl.service"])["token_file"]

    assert token_file == Path("${CREDENTIALS_DIRECTORY}", name)


def test_kubernetes_objects_have_the_required_fields() -> None:
    deployment, service = yaml.safe_load_all(KUBERNETES)
    labels = deployment["spec"]["template"]["metadata"]["labels"]

    assert (deployment["apiVersion"], deployment["kind"]) == ("apps/v1", "Deployment")
    assert (service["apiVersion"], service["kind"]) == ("v1", "Service")
    assert deployment["metadata"]["name"] == service["metadata"]["name"] == "mnistctl"
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert service["spec"]["selector"].items() <= labels.items()
    assert container().keys() >= {"name", "image", "resources"}
    assert container()["resources"].keys() == {"requests", "limits"}


def test_probes_ask_for_paths_that_the_server_answers_without_a_token(server: Server) -> None:
    paths = {name: probe["path"] for name, probe in probes().items()}

    assert paths == {
        "startupProbe": "/v2/health/ready",
        "readinessProbe": "/v2/health/ready",
        "livenessProbe": "/v2/health/live",
    }
    for path in paths.values():
        assert path in gate.OPEN_PATHS
        assert server.get(path).status_code == 200


def test_kubernetes_uses_the_port_of_the_server(server: Server) -> None:
    deployment, service = yaml.safe_load_all(KUBERNETES)
    annotations = deployment["spec"]["template"]["metadata"]["annotations"]
    (port,) = container()["ports"]
    (service_port,) = service["spec"]["ports"]

    assert port["containerPort"] == options_of(COMMANDS["kubernetes.yaml"])["port"]
    assert {probe["port"] for probe in probes().values()} == {port["name"]}
    assert service_port["targetPort"] == port["name"]
    assert annotations["prometheus.io/port"] == str(port["containerPort"])
    assert server.get(annotations["prometheus.io/path"]).status_code == 200


def test_the_pod_is_not_root_and_writes_nothing() -> None:
    security = container()["securityContext"]
    (user,) = instructions("USER")

    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert user == f"{pod()['securityContext']['runAsUser']}:{pod()['securityContext']['runAsGroup']}"
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_the_token_of_the_pod_is_a_mounted_secret_that_its_group_can_read() -> None:
    (mount,) = container()["volumeMounts"]
    (volume,) = pod()["volumes"]
    token_file = options_of(COMMANDS["kubernetes.yaml"])["token_file"]

    assert mount["name"] == volume["name"]
    assert token_file == Path(mount["mountPath"], "token")
    assert f"secret generic {volume['secret']['secretName']} --from-file=token=" in KUBERNETES
    assert volume["secret"]["defaultMode"] == 0o440
    assert pod()["securityContext"]["fsGroup"] == pod()["securityContext"]["runAsGroup"]


def test_there_is_a_worker_for_every_cpu_of_the_limit() -> None:
    limit = int(container()["resources"]["limits"]["cpu"])

    assert options_of(COMMANDS["kubernetes.yaml"])["workers"] == limit


def test_every_way_to_stop_waits_longer_than_grace() -> None:
    wait = pod()["terminationGracePeriodSeconds"]
    (_, before) = container()["lifecycle"]["preStop"]["exec"]["command"]
    assert wait - int(before) > options_of(COMMANDS["kubernetes.yaml"])["grace"]

    (timeout,) = settings("TimeoutStopSec")
    assert int(timeout) > options_of(COMMANDS["mnistctl.service"])["grace"]

    stops = re.findall(r"--stop-timeout (\d+)", DOCKERFILE + PAGE)
    assert len(stops) >= 2
    assert min(map(int, stops)) > options_of(COMMANDS["Dockerfile"])["grace"]


def test_kserve_runs_a_folder_of_the_export_format_triton_with_triton() -> None:
    service = yaml.safe_load(KSERVE)
    model = service["spec"]["predictor"]["model"]

    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    assert service["kind"] == "InferenceService"
    assert service["metadata"]["name"]
    assert (model["modelFormat"], model["protocolVersion"]) == ({"name": "triton"}, "v2")
    folder = model["storageUri"].rpartition("/")[2]
    assert folder == f"model{formats.FORMATS['triton'].suffix}"
    assert f"--format triton --output {folder}" in KSERVE
    for file in formats.FORMATS["triton"].files:
        assert file in KSERVE


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_options_that_exist_with_values_that_are_valid(name: str, cli: Cli) -> None:
    options = options_of(COMMANDS[name])

    assert options["log_format"] == "json"
    known = {key: options[key] for key in options if hasattr(ServeOptions, key)}
    ServeOptions(**known)
    for word in COMMANDS[name]:
        if word.startswith("--"):
            assert word.partition("=")[0] in cli("serve", "--help").out


@pytest.mark.parametrize("text", [PAGE, DOCKERFILE], ids=["page", "Dockerfile"])
def test_commands_in_text_and_comments_have_options_that_exist(text: str, cli: Cli) -> None:
    commands = re.findall(r"^[# ]+(mnistctl serve .*--.*)$", text, flags=re.MULTILINE)

    assert commands
    for command in commands:
        assert options_of(shlex.split(command))["host"] == "0.0.0.0"
    for option in re.findall(r"`(--[a-z-]+)", text):
        assert option in cli("serve", "--help").out


def test_an_option_that_does_not_exist_is_found() -> None:
    with pytest.raises(UsageError, match="--lot-format"):
        options_of(["mnistctl", "serve", "--lot-format", "json"])


def test_the_container_exposes_and_checks_the_port_of_the_server(server: Server) -> None:
    (health,) = instructions("HEALTHCHECK")
    _, _, check = json.loads(health.partition("CMD ")[2])
    (port,) = instructions("EXPOSE")

    assert port == str(options_of(COMMANDS["Dockerfile"])["port"])
    assert f":{port}/v2/health/live" in check
    for actual, code in ((server.port, 0), (free_port(), 1)):
        command = [sys.executable, "-c", check.replace(f":{port}/", f":{actual}/")]
        proxy = os.environ | {"http_proxy": f"http://127.0.0.1:{free_port()}"}
        result = subprocess.run(command, env=proxy, capture_output=True, check=False)
        assert result.returncode == code


def test_every_package_of_the_container_is_one_that_mnistctl_depends_on() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    serve = project["optional-dependencies"]["serve"]
    requirements = [*project["dependencies"], *serve]

    names = {re.split(r"[^\w-]", requirement)[0] for requirement in requirements}

    assert names >= set(packages()) >= {re.split(r"[^\w-]", item)[0] for item in serve}
    assert not set(packages()) & set(NOT_INSTALLED)


def packages() -> list[str]:
    """The packages that the Dockerfile installs by name."""
    first, _ = (command for command in instructions("RUN") if " install " in command)
    return [word for word in shlex.split(first.partition(" install ")[2]) if word[:2] != "--"]


def test_the_page_introduces_every_file() -> None:
    for file in FOLDER.iterdir():
        assert f"](../deploy/{file.name})" in PAGE


def test_prometheus_sends_the_token_and_the_metrics_on_the_page_exist(server: Server) -> None:
    example = yaml.safe_load(PAGE.split("```yaml\n")[1].split("```")[0])
    (job,) = example["scrape_configs"]
    named = re.findall(r"`(mnistctl_\w+)`", PAGE)
    (label,) = job["relabel_configs"]

    assert job["authorization"].keys() == {"credentials_file"}
    assert label["source_labels"] == ["__meta_kubernetes_pod_label_app_kubernetes_io_name"]
    assert label["regex"] == "mnistctl"
    assert named
    assert all(name in server.get("/metrics").text for name in named)


def run(*command: str | Path) -> str:
    result = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=PIP_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def copy_sources(folder: Path) -> None:
    """Copy what the Dockerfile copies from the repository."""
    for arguments in instructions("COPY"):
        if arguments.startswith("--from"):
            continue
        *names, target = arguments.split()
        place = folder / Path(target).relative_to("/source")
        for name in names:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, place)
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, place)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the Dockerfile is for Linux")
def test_the_commands_of_the_dockerfile_build_an_environment_that_serves_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment, source = tmp_path / "environment", tmp_path / "source"
    copy_sources(source)
    programs = {"python": [sys.executable], "pip": [sys.executable, "-m", "pip"]}
    for command in instructions("RUN"):
        words = command.replace("/opt/mnistctl", str(environment)).replace("/source", str(source))
        program, *arguments = shlex.split(words)
        run(*programs[program], *arguments)

    python = environment / "bin" / "python"
    find = "import importlib.util, sys; print([*filter(importlib.util.find_spec, sys.argv[1:])])"
    assert run(python, "-c", find, "numpy", *NOT_INSTALLED).strip() == "['numpy']"
    (site_packages,) = environment.glob("lib/python*/site-packages")
    size = sum(file.stat().st_size for file in site_packages.rglob("*") if file.is_file()) / 1e6
    stated = re.search(r"takes (\d+) MB", PAGE)
    assert stated is not None
    assert size == pytest.approx(int(stated[1]), rel=MAX_SIZE_ERROR)

    shutil.copy(models.bundled(formats.ONNX), tmp_path / "foreign.onnx")
    monkeypatch.setattr(sys, "executable", str(python))  # of which Server starts a process
    with Server(tmp_path, "foreign.onnx", "bundled", *COMMANDS["Dockerfile"][2:]) as server:
        for model, numbers in itertools.product(("foreign", "bundled"), ("0", "1")):
            answer = server.post(f"/predict?model={model}&numbers={numbers}", EXAMPLE)
            (result,) = answer.json()
            assert result["text" if numbers == "1" else "label"] == EXAMPLE_LABEL
        assert "<canvas" in server.get("/").text
        assert "mnistctl_requests_total" in server.get("/metrics").text
    assert "Traceback" not in server.log
