"""Telemetry of the libraries below mnistctl, which it switches off."""

import os

VARIABLES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "OPENVINO_TELEMETRY": "0",
    "ORT_DISABLE_TELEMETRY": "1",
}


def switch_off() -> None:
    """Make the libraries send no reports, in this process and in those that it starts.

    A library reads its variable when it is imported. Variables that the user has set stay as they are.
    """
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
