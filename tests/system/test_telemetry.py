"""Libraries below mnistctl send no reports about their use."""

import os
import subprocess
import sys

import pytest

from mnistctl.system import telemetry


def variables_after_import(changes: dict[str, str]) -> list[str]:
    """The variables of telemetry in a fresh process that has imported a module of mnistctl."""
    environment = {key: value for key, value in os.environ.items() if key not in telemetry.VARIABLES}
    code = "import os, sys, mnistctl.types; print(*(os.environ[name] for name in sys.argv[1:]))"
    command = [sys.executable, "-c", code, *telemetry.VARIABLES]
    return subprocess.check_output(command, env=environment | changes, text=True).split()


def test_telemetry_is_off_before_any_library_is_imported() -> None:
    assert variables_after_import({}) == list(telemetry.VARIABLES.values())


@pytest.mark.parametrize("name", telemetry.VARIABLES)
def test_a_user_can_switch_telemetry_on(name: str) -> None:
    values = dict(zip(telemetry.VARIABLES, variables_after_import({name: "mine"}), strict=True))

    assert values == telemetry.VARIABLES | {name: "mine"}
