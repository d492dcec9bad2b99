"""Faults of servers, networks and disks: a download leaves the right file, or none."""

import gzip
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme

from mnistctl.datasets import catalog, fetch, http
from mnistctl.errors import DataError, DownloadError, WriteError
from mnistctl.system import files, temporary
from tests.datasets.servers import Behaviour, answer, serving
from tests.helpers import environment_without_coverage, let_others_enter, tiny_dataset

NAME = "labels-idx1-ubyte"
CONTENT = struct.pack(">HBBI", 0, 8, 1, 200_000) + os.urandom(200_000)
ARCHIVE = gzip.compress(CONTENT)
HALF = len(ARCHIVE) // 2
FILE = catalog.RawFile(NAME, len(CONTENT), files.sha256(CONTENT))


def dataset(*mirrors: str) -> catalog.Dataset:
    return tiny_dataset(FILE, mirrors=mirrors)


def send(content: bytes) -> Behaviour:
    return lambda connection, path: connection.sendall(content)


def send_and_wait(content: bytes) -> Behaviour:
    def behave(connection: socket.socket, path: str) -> None:
        connection.sendall(content)
        connection.recv(1)  # until the client goes

    return behave


def send_and_reset(content: bytes) -> Behaviour:
    def behave(connection: socket.socket, path: str) -> None:
        connection.sendall(content)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    return behave


def send_forever(content: bytes, piece: bytes) -> Behaviour:
    def behave(connection: socket.socket, path: str) -> None:
        connection.sendall(content)
        while True:
            connection.sendall(piece)

    return behave


def drip_from(start: int) -> Behaviour:
    def behave(connection: socket.socket, path: str) -> None:
        connection.sendall(answer(ARCHIVE[:start], length=str(len(ARCHIVE))))
        for position in range(start, len(ARCHIVE)):
            connection.sendall(ARCHIVE[position : position + 1])
            time.sleep(0.1)

    return behave


def redirect(target: str) -> Behaviour:
    return send(answer(b"", status="302 Found", headers=f"Location: {target}\r\n"))


def archive_with_a_flipped_bit() -> bytes:
    content = bytearray(CONTENT)
    content[1000] ^= 1
    return gzip.compress(bytes(content))


FAULTS: dict[str, Behaviour] = {
    **{
        status: send(answer(b"sorry", status=status))
        for status in (
            "400 Bad Request",
            "401 Unauthorized",
            "403 Forbidden",
            "404 Not Found",
            "410 Gone",
            "429 Too Many Requests",
            "500 Internal Server Error",
            "502 Bad Gateway",
            "503 Service Unavailable",
            "504 Gateway Timeout",
        )
    },
    "204 without a body": send(answer(b"", status="204 No Content")),
    "a web page with status 200": send(answer(b"<html>please log in</html>")),
    "an empty body": send(answer(b"")),
    "a truncated body": send(answer(ARCHIVE[:HALF], length=str(len(ARCHIVE)))),
    "a truncated body without Content-Length": send(answer(ARCHIVE[:HALF], length=None)),
    "an endless body": send_forever(answer(b"", length=None), ARCHIVE),
    "an endless body with a huge Content-Length": send_forever(answer(b"", length=str(2**40)), ARCHIVE),
    "an endless header": send_forever(b"HTTP/1.1 200 OK\r\n", b"X-Filler: " + b"x" * 4000 + b"\r\n"),
    "a body that stalls": send_and_wait(answer(ARCHIVE[:HALF], length=str(len(ARCHIVE)))),
    "a body sent byte by byte": drip_from(0),
    "a body whose second half is sent byte by byte": drip_from(HALF),
    "a stall before the first byte": send_and_wait(b""),
    "a stall after the header": send_and_wait(answer(b"", length=str(len(ARCHIVE)))),
    "a stall in the header": send_and_wait(b"HTTP/1.1 200 OK\r\nContent-"),
    "a connection closed without a response": send(b""),
    "a connection reset without a response": send_and_reset(b""),
    "a connection reset in the body": send_and_reset(answer(ARCHIVE[:HALF], length=str(len(ARCHIVE)))),
    "a Content-Length too small": send(answer(ARCHIVE, length=str(HALF))),
    "a Content-Length too large": send(answer(ARCHIVE, length=str(len(ARCHIVE) + 9))),
    "a response that is not HTTP": send(b"220 ftp.example ready\r\n"),
    "a broken chunk": send(
        answer(b"FFFF\r\nshort", length=None, headers="Transfer-Encoding: chunked\r\n")
    ),
    "a chunk without a size": send(
        answer(b"zz\r\nshort\r\n", length=None, headers="Transfer-Encoding: chunked\r\n")
    ),
    "a wrong Content-Encoding": send(answer(b"plain text", headers="Content-Encoding: gzip\r\n")),
    "a redirect loop": redirect("/again"),
    "a redirect to a closed port": redirect("http://localhost:9/"),
    "a redirect to a file": redirect("file:///etc/passwd"),
    "a redirect to an invalid URL": redirect("http://["),
    "a redirect to a host name that is too long": redirect(f"http://{'x' * 300}/"),
    "endless redirects": lambda connection, path: connection.sendall(
        answer(b"", status="301 Moved", headers=f"Location: {path}x\r\n")
    ),
    "a flipped bit": send(answer(archive_with_a_flipped_bit())),
    "another file's archive": send(answer(gzip.compress(CONTENT[:-1]))),
    "a damaged archive": send(answer(ARCHIVE[:HALF] + b"\0" + ARCHIVE[HALF + 1 :])),
    "a truncated archive": send(answer(ARCHIVE[:-4])),
    "two archives in one file": send(answer(ARCHIVE + ARCHIVE)),
    "an archive with trailing bytes": send(answer(ARCHIVE + b"\0")),
    "an archive that unpacks to 200 times the size": send(answer(gzip.compress(bytes(40_000_000)))),
}


@pytest.fixture(autouse=True)
def short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "FIRST_BYTE_TIMEOUT_S", 3.0)
    monkeypatch.setattr(http, "STALL_TIMEOUT_S", 1.0)
    monkeypatch.setattr(http, "TRANSFER_TIMEOUT_S", 1.5)


def assert_nothing_is_left(folder: Path, error: pytest.ExceptionInfo[DownloadError]) -> None:
    assert [path.name for path in folder.iterdir() if path.name != ".lock"] == []
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"{NAME}.gz could not be downloaded (")
    assert "--from FOLDER" in message


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failed_download_leaves_no_file_and_a_one_line_error(fault: str, tmp_path: Path) -> None:
    with serving(FAULTS[fault]) as server, pytest.raises(DownloadError) as error:
        fetch.fetch(dataset(server.address), tmp_path)

    assert_nothing_is_left(tmp_path, error)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_next_mirror_is_used_after_a_fault(fault: str, tmp_path: Path) -> None:
    with serving(FAULTS[fault]) as bad, serving(send(answer(ARCHIVE))) as good:
        (fetched,) = fetch.fetch(dataset(bad.address, good.address), tmp_path)

    assert bad.paths
    assert fetched.source == f"{good.address}{NAME}.gz"
    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "headers",
    ["", "Content-Encoding: gzip\r\n", "Content-Encoding: x-gzip\r\n", "Content-Type: text/html\r\n"],
)
def test_the_archive_is_stored_as_sent_whatever_the_headers(headers: str, tmp_path: Path) -> None:
    with serving(send(answer(ARCHIVE, headers=headers))) as server:
        fetch.fetch(dataset(server.address), tmp_path)

    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_chunked_response_is_assembled(tmp_path: Path) -> None:
    chunks = [ARCHIVE[start : start + 30_000] for start in range(0, len(ARCHIVE), 30_000)]
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""])
    with serving(send(answer(body, length=None, headers="Transfer-Encoding: chunked\r\n"))) as server:
        fetch.fetch(dataset(server.address), tmp_path)

    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_the_first_byte_timeout_does_not_limit_the_rest_of_the_body(tmp_path: Path) -> None:
    def slow_but_steady(connection: socket.socket, path: str) -> None:
        connection.sendall(answer(ARCHIVE[:10], length=str(len(ARCHIVE))))
        for start in range(10, len(ARCHIVE), 20_000):
            time.sleep(0.1)
            connection.sendall(ARCHIVE[start : start + 20_000])

    with serving(slow_but_steady) as server:
        fetch.fetch(dataset(server.address), tmp_path, first_byte_timeout_s=0.5)

    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_process_can_download_again_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(DownloadError) as failure:
        fetch.fetch(dataset("http://localhost:9/"), tmp_path)
    assert failure.value.__traceback__ is not None  # it keeps the frames of the failure alive

    with serving(send(answer(ARCHIVE))) as server:
        fetch.fetch(dataset(server.address), tmp_path)

    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_the_usual_mirrors_are_used_after_a_custom_mirror_with_an_invalid_url(tmp_path: Path) -> None:
    with serving(send(answer(ARCHIVE))) as usual:
        fetch.fetch(dataset(usual.address), tmp_path, mirror="http://[x")

    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_the_error_names_each_mirror_once_if_one_answers(tmp_path: Path) -> None:
    mirrors = ("http://127.0.0.1:9/", "http://nothing.invalid/")

    with (
        serving(send(answer(b"", status="404 Not Found"))) as server,
        pytest.raises(DownloadError) as error,
    ):
        fetch.fetch(dataset(server.address, *mirrors), tmp_path, mirror="http://127.0.0.1:9/")

    assert_nothing_is_left(tmp_path, error)
    for failure in (
        "localhost: HTTP 404 Not Found",
        "127.0.0.1: could not connect",
        "nothing.invalid: host not found",
    ):
        assert str(error.value).count(failure) == 1


def test_the_error_says_that_there_is_no_network_if_no_mirror_can_be_reached(tmp_path: Path) -> None:
    mirrors = ("http://localhost:9/", "http://127.0.0.1:9/", "http://nothing.invalid/")

    with pytest.raises(DownloadError) as error:
        fetch.fetch(dataset(*mirrors), tmp_path)

    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == []
    assert str(error.value) == (
        "no network: none of 3 mirrors could be reached; "
        "get the files elsewhere and run 'mnistctl download tiny --from FOLDER'"
    )


def test_silent_mirrors_share_the_time_to_the_first_byte(tmp_path: Path) -> None:
    with serving(send_and_wait(b"")) as server:
        started = time.monotonic()

        with pytest.raises(DownloadError, match="timed out"):
            fetch.fetch(dataset(*[server.address] * 3), tmp_path, first_byte_timeout_s=0.9)

        assert len(server.paths) == 3
        assert time.monotonic() - started < 10  # a bound on hanging, not on speed


def test_a_mirror_that_fails_slowly_leaves_the_next_one_its_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeouts = []

    def fail_slowly(url: str, first_byte_timeout_s: float, **options: object) -> bytes:
        timeouts.append(first_byte_timeout_s)
        time.sleep(0.1)
        raise DataError("connection lost")

    monkeypatch.setattr(http, "get", fail_slowly)
    with pytest.raises(DownloadError, match="connection lost"):
        fetch.fetch(dataset("http://a/", "http://b/"), tmp_path, first_byte_timeout_s=0.08)

    assert timeouts == pytest.approx([0.04, 0.04])


@pytest.fixture
def authority(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """A temporary certificate authority that requests trusts."""
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    return authority


def certificate(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_a_download_over_https_works(authority: trustme.CA, tmp_path: Path) -> None:
    with serving(send(answer(ARCHIVE)), tls=certificate(authority)) as server:
        fetch.fetch(dataset(server.address), tmp_path)

    assert server.address.startswith("https://")
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_redirect_from_https_to_http_is_rejected(authority: trustme.CA, tmp_path: Path) -> None:
    with (
        serving(send(answer(ARCHIVE))) as open_server,
        serving(redirect(f"{open_server.address}{NAME}.gz"), tls=certificate(authority)) as server,
        pytest.raises(DownloadError, match="redirected from https to http") as error,
    ):
        fetch.fetch(dataset(server.address), tmp_path)

    assert open_server.paths == []
    assert_nothing_is_left(tmp_path, error)


def test_a_redirect_from_http_to_https_is_followed(authority: trustme.CA, tmp_path: Path) -> None:
    with (
        serving(send(answer(ARCHIVE)), tls=certificate(authority)) as safe,
        serving(redirect(f"{safe.address}{NAME}.gz")) as server,
    ):
        fetch.fetch(dataset(server.address), tmp_path)

    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("case", ["unknown authority", "wrong host name"])
def test_an_invalid_certificate_is_rejected(case: str, authority: trustme.CA, tmp_path: Path) -> None:
    issuer = trustme.CA() if case == "unknown authority" else authority
    name = "elsewhere.test" if case == "wrong host name" else "localhost"

    with (
        serving(send(answer(ARCHIVE)), tls=certificate(issuer, name)) as server,
        pytest.raises(DownloadError, match="certificate not trusted") as error,
    ):
        fetch.fetch(dataset(server.address), tmp_path)

    assert server.paths == []
    assert_nothing_is_left(tmp_path, error)


PROGRAM = """
import os, sys
import filelock, requests
from pathlib import Path
from mnistctl.datasets import catalog, fetch
from mnistctl.errors import MnistctlError
if sys.argv[6:] and os.getuid() == 0:
    os.setuid(65534)  # file modes do not apply to root
file = catalog.RawFile(sys.argv[3], int(sys.argv[4]), sys.argv[5])
dataset = catalog.Dataset(name="tiny", summary="", class_names=("a", "b"), licence="", citation="",
                          split_files={"train": (file,)}, folder="Tiny/raw", mirrors=(sys.argv[1],))
try:
    print(*[item.status for item in fetch.fetch(dataset, Path(sys.argv[2]))])
except MnistctlError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def start(
    address: str,
    folder: Path,
    *,
    as_nobody: bool = False,
    preexec_fn: Callable[[], None] | None = None,
) -> subprocess.Popen[str]:
    """Fetch in another process."""
    arguments = [address, str(folder), NAME, str(len(CONTENT)), FILE.sha256 or ""]
    arguments += ["nobody"] * as_nobody
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=preexec_fn,
        env=environment_without_coverage(),
    )


def send_after_a_delay(connection: socket.socket, path: str) -> None:
    time.sleep(1.5)
    connection.sendall(answer(ARCHIVE))


def test_eight_concurrent_processes_download_the_file_once(tmp_path: Path) -> None:
    with serving(send_after_a_delay) as server:
        processes = [start(server.address, tmp_path) for _ in range(8)]
        statuses = [process.communicate(timeout=60)[0].strip() for process in processes]

    assert sorted(statuses) == ["downloaded", *["present"] * 7]
    assert server.paths == [f"/{NAME}.gz"]
    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_download_that_was_killed_can_be_run_again(tmp_path: Path) -> None:
    half = send_and_wait(answer(ARCHIVE[:HALF], length=str(len(ARCHIVE))))
    with serving(half) as server, start(server.address, tmp_path) as process:
        while not server.paths:
            time.sleep(0.02)
        time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    # As if the process was killed while it wrote the file:
    half_written = tmp_path / f".0000{temporary.SUFFIX}" / "new" / NAME
    half_written.parent.mkdir(parents=True)
    half_written.write_bytes(CONTENT[:99])
    (half_written.parents[1] / "lock").touch()

    assert not (tmp_path / NAME).exists()
    with serving(send(answer(ARCHIVE))) as server:
        fetch.fetch(dataset(server.address), tmp_path)

    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert {path.name for path in tmp_path.iterdir()} <= {NAME, ".lock"}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no resource limits")
def test_a_full_disk_leaves_no_file(tmp_path: Path) -> None:
    import resource

    def allow_50_kb() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    with (
        serving(send(answer(ARCHIVE))) as server,
        start(server.address, tmp_path, preexec_fn=allow_50_kb) as process,
    ):
        _, err = process.communicate(timeout=60)

    assert err.strip() == f"WriteError: {tmp_path / NAME}: cannot be written: File too large"
    assert {path.name for path in tmp_path.iterdir()} <= {".lock"}


@pytest.mark.skipif(os.name == "nt", reason="Windows folders have no modes")
def test_a_read_only_folder_gives_a_one_line_error(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    let_others_enter(tmp_path)

    with (
        serving(send(answer(ARCHIVE))) as server,
        start(server.address, folder, as_nobody=True) as process,
    ):
        _, err = process.communicate(timeout=60)

    assert re.fullmatch(rf"WriteError: {folder}.*: cannot be written: Permission denied", err.strip())
    assert list(folder.iterdir()) == []


def test_a_file_in_place_of_the_folder_gives_a_one_line_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(WriteError, match="cannot be written"):
        fetch.fetch(dataset("http://localhost:9/"), tmp_path / "file" / "raw")


@pytest.fixture
def custom_mirror() -> Iterator[str]:
    """A mirror that has the archive in the dataset's folder only."""

    def behave(connection: socket.socket, path: str) -> None:
        is_archive = path == f"/all/tiny/{NAME}.gz"
        connection.sendall(answer(ARCHIVE) if is_archive else answer(b"", status="404 Not Found"))

    with serving(behave) as server:
        yield f"{server.address}all"


def test_a_custom_mirror_is_tried_first(
    custom_mirror: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(send(answer(ARCHIVE))) as usual:
        fetch.fetch(dataset(usual.address), tmp_path / "option", mirror=custom_mirror)
        monkeypatch.setenv("MNISTCTL_MIRROR", custom_mirror)
        fetch.fetch(dataset(usual.address), tmp_path / "variable")

    assert usual.paths == []
    for name in ("option", "variable"):
        assert (tmp_path / name / NAME).read_bytes() == CONTENT


def test_the_usual_mirrors_are_used_after_a_custom_mirror_fails(tmp_path: Path) -> None:
    with serving(send(answer(ARCHIVE))) as usual:
        fetch.fetch(dataset(usual.address), tmp_path, mirror="http://localhost:9/")

    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_source_url_is_the_only_server_that_is_contacted(custom_mirror: str, tmp_path: Path) -> None:
    with serving(send(answer(ARCHIVE))) as usual:
        fetch.fetch(dataset(usual.address), tmp_path / "here", source=custom_mirror)
        with pytest.raises(DownloadError):
            fetch.fetch(dataset(usual.address), tmp_path / "there", source="http://localhost:9/")

    assert usual.paths == []
    assert (tmp_path / "here" / NAME).read_bytes() == CONTENT
