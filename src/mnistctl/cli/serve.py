"""`mnistctl serve`."""

from pathlib import Path
from typing import Annotated

import typer

from mnistctl.cli.completion import complete_models
from mnistctl.cli.options import CustomClassOption, QuietOption
from mnistctl.serving.options import LogFormat, ServeOptions


def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL",
            help="Models to serve: files, run folders, names of runs, or 'bundled'. NAME=MODEL gives a "
            "model another name. The first one is the default.",
            autocompletion=complete_models,
            show_default="the newest run, or bundled",
        ),
    ] = None,
    numbers_model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Model that finds the digits of numbers: a file, a run folder, the name of a run, or "
            "'bundled-numbers'.",
            autocompletion=complete_models,
            show_default="the newest run for numbers, or bundled-numbers",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="Address to listen on; 0.0.0.0 for all addresses of this machine."
        ),
    ] = ServeOptions.host,
    port: Annotated[int, typer.Option(metavar="N", help="Port to listen on; 0 for a free one.")] = (
        ServeOptions.port
    ),
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Number of processes that read pictures, 1 to 64; each takes 120 MB or more.",
            show_default="one per core",
        ),
    ] = None,
    max_batch: Annotated[
        int,
        typer.Option(metavar="N", help="Maximum number of requests per batch, 1 to 1,000."),
    ] = ServeOptions.max_batch,
    batch_window: Annotated[
        float,
        typer.Option(
            metavar="MS",
            help="Time in milliseconds, 0 to 1,000, that a request waits for others to form a batch "
            "with, if some workers are busy and others are not.",
        ),
    ] = ServeOptions.batch_window,
    max_queue: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Maximum number of requests at a time, 1 to 100,000; others get the status 429.",
        ),
    ] = ServeOptions.max_queue,
    max_body: Annotated[
        float,
        typer.Option(
            metavar="MB",
            help="Maximum size of a request in megabytes, 0.01 to 1,000; larger ones get the status "
            "413.",
        ),
    ] = ServeOptions.max_body,
    timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Time limit in seconds, 0.1 to 3,600, for each of these: receiving a request, reading "
            "it, and sending the response.",
        ),
    ] = ServeOptions.timeout,
    grace: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Time limit in seconds, 0 to 3,600, for finishing accepted requests after SIGTERM or "
            "Ctrl-C.",
        ),
    ] = ServeOptions.grace,
    token_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with a token of 16 characters or more, which every request has to show: "
            "'Authorization: Bearer TOKEN'.",
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Origin of web pages that may use the server, such as https://example.org; * for all. "
            "Can be repeated.",
        ),
    ] = None,
    certfile: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Certificate in PEM format, for https."),
    ] = None,
    keyfile: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Private key of the certificate, in PEM format.",
            show_default="in the file of the certificate",
        ),
    ] = None,
    log_format: Annotated[
        LogFormat,
        typer.Option(metavar="FORMAT", help="Format of the log on stderr: text or json."),
    ] = ServeOptions.log_format,
    arch: CustomClassOption = None,
    quiet: QuietOption = False,
) -> None:
    """Read pictures and run models over HTTP.

    POST a picture to /predict, or open the address in a browser and draw. Clients of Triton and KServe
    can use /v2.
    """
    import mnistctl

    mnistctl.serve(
        models,
        numbers_model=numbers_model,
        arch=arch,
        options=ServeOptions(
            host=host,
            port=port,
            workers=workers,
            max_batch=max_batch,
            batch_window=batch_window,
            max_queue=max_queue,
            max_body=max_body,
            timeout=timeout,
            grace=grace,
            token_file=token_file,
            allow_origin=allow_origin or (),
            certfile=certfile,
            keyfile=keyfile,
            log_format=log_format,
            quiet=quiet,
        ),
    )
