"""GridFTP beyond the exam: proxy certificates, faults, and what the child processes leave."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messaging.errors import UsageError
from storage_backends import StorageBackend, open_backend
from storage_backends.errors import (
    StorageDeniedError,
    StorageNotFoundError,
    StorageTransientError,
)
from storage_backends.gridftp.backend import GridFtpBackend
from storage_backends.gridftp.globus import Globus
from storage_backends.pool import TransferPool
from storage_backends.retrying import Retry
from storage_backends.watch import TransferStoppedError, Watch
from tests.services import gridftp
from tests.services.grid_certificates import GridCertificates
from tests.services.gridftp import GridFtpServer
from tests.storage_backends.conformance.files import contents, listed, put
from tests.waiting import wait_until

#: Takes long enough to be caught in the middle; holes, so that it costs no disk here.
_LARGE = 400_000_000


class OnceMoving(Watch):
    """Does something once, in the middle of a transfer."""

    def __init__(self, action: Callable[[], None]) -> None:
        super().__init__()
        self._action: Callable[[], None] | None = action

    def _count(self, count: int) -> None:
        super()._count(count)
        if self.bytes > 0 and self._action is not None:
            action, self._action = self._action, None
            action()

    @property
    def acted(self) -> bool:
        return self._action is None


@pytest.fixture
def place(gridftp_server: tuple[str, Path]) -> Iterator[Path]:
    """A directory of the shared server that it may write."""
    made = gridftp.make_place(gridftp_server[1])
    yield made
    shutil.rmtree(made)


@pytest.fixture
def backend(gridftp_server: tuple[str, Path], place: Path) -> Iterator[StorageBackend]:
    options = {"url": f"{gridftp_server[0]}{place}", "retry_seconds": 0}
    with open_backend("gridftp", options) as opened:
        yield opened


@pytest.fixture
def own_server() -> Iterator[GridFtpServer]:
    """A server of the test's own, to be killed."""
    with GridFtpServer() as server:
        yield server


@pytest.fixture
def job(tmp_path: Path) -> Path:
    directory = tmp_path / "jöb"  # Globus itself could not name it
    directory.mkdir()
    return directory


@pytest.fixture(scope="module")
def certificates() -> Iterator[GridCertificates]:
    # Not below pytest's directory: the server's user reads the authorities too.
    with tempfile.TemporaryDirectory(prefix="portfire-gridftp-") as directory:
        Path(directory).chmod(0o755)
        made = GridCertificates(Path(directory))
        made.make()
        yield made


@pytest.fixture
def secure(certificates: GridCertificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of a place on a server that asks for the user's certificate, which is set."""
    for name, value in certificates.client_environment().items():
        monkeypatch.setenv(name, value)
    with GridFtpServer(certificates=certificates) as server:
        yield f"{server.url}{gridftp.make_place(server.directory)}"


def large(directory: Path) -> Path:
    path = directory / "large"
    with path.open("wb") as made:
        made.truncate(_LARGE)
    return path


def impatient(url: str, stall: float = 1.0, deadline: float = 0.0) -> GridFtpBackend:
    globus = Globus(os.environ, stall=stall)
    return GridFtpBackend(url, globus, TransferPool(), Retry(first=0.1, deadline=deadline))


def test_a_proxy_certificate_opens_a_server_that_asks_for_one(secure: str, job: Path) -> None:
    with open_backend("gridftp", {"url": secure}) as backend:
        for name in ("tree/a", "tree/b/c"):
            put(job, name, name.encode())
        stored = backend.store(job / "tree", "deep/tree/", within=job)
        fetched = backend.fetch("deep/tree/", job / "back")
        assert contents(job / "back") == contents(job / "tree")
        assert stored.checksum == fetched.checksum is not None
        assert ("deep/tree/b/c", 8) in listed(backend, "")
        backend.remove("deep/")
        assert backend.entries("") == []


def test_a_certificate_that_the_server_does_not_know_is_denied(
    secure: str, certificates: GridCertificates, job: Path
) -> None:
    gridmap = certificates.directory / "gridmap"
    gridmap.write_text("")
    with (
        open_backend("gridftp", {"url": secure}) as backend,
        pytest.raises(StorageDeniedError, match=r"proxy certificate"),
    ):
        backend.store(put(job, "x"), "x", within=job)


def test_a_server_whose_authority_is_unknown_here_is_denied(
    secure: str, job: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("X509_CERT_DIR", str(tmp_path))
    with (
        open_backend("gridftp", {"url": secure}) as backend,
        pytest.raises(StorageDeniedError) as caught,
    ):
        backend.fetch("x", job / "x")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("content", [None, "no certificate", b"\xff"])
def test_a_missing_or_wrong_proxy_certificate_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | bytes | None
) -> None:
    proxy = tmp_path / "proxy"
    if content is not None:
        proxy.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setenv("X509_USER_PROXY", str(proxy))
    with pytest.raises(UsageError, match=r"grid-proxy-init"):
        open_backend("gridftp", {"url": "gsiftp://localhost:2811"})


def test_a_missing_program_is_a_usage_error_that_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"apt-get install globus-gass-copy-progs"):
        open_backend("gridftp", {"url": "ftp://localhost"})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"url": "https://host"},
        {"url": "gsiftp://"},
        {"url": "gsiftp://host/ü"},
        {"url": 'ftp://host/"'},
        {"url": "ftp://host/a b"},
        {"url": "ftp://host", "streams": 0},
    ],
)
def test_wrong_options_are_usage_errors(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"storage option"):
        open_backend("gridftp", options)


@pytest.mark.parametrize("where", ["fetch", "store", "entries", "remove"])
def test_a_server_that_is_away_is_transient(job: Path, where: str) -> None:
    backend = impatient("ftp://127.0.0.1:1")
    with pytest.raises(StorageTransientError, match=r"127.0.0.1:1.*Connection refused") as caught:
        _do(backend, where, job)
    assert str(caught.value).isprintable()
    assert set(contents(job)) <= {"x"}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("garbage", [b"", b"220\r\n" * 3, b"HTTP/1.1 400 Bad\r\n\r\n", bytes(9000)])
def test_a_server_that_answers_garbage_is_transient(job: Path, garbage: bytes) -> None:
    with _answering(garbage) as port:
        for where in ("fetch", "store"):
            with pytest.raises((StorageTransientError, StorageDeniedError)) as caught:
                _do(impatient(f"ftp://127.0.0.1:{port}"), where, job)
            assert str(caught.value).isprintable()
    assert set(contents(job)) <= {"x"}
    assert _children() == []


def _do(backend: StorageBackend, what: str, job: Path) -> None:
    if what == "fetch":
        backend.fetch("x", job / "x")
    elif what == "store":
        backend.store(put(job, "x"), "x", within=job)
    elif what == "entries":
        backend.entries("")
    else:
        backend.remove("x")


@contextmanager
def _answering(garbage: bytes) -> Iterator[int]:
    """A port that answers every connection with `garbage` and then nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                    taken[-1].sendall(garbage)
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in taken:
                connection.close()


def test_what_the_server_may_not_read_or_write_is_denied(
    gridftp_server: tuple[str, Path], place: Path, job: Path
) -> None:
    with open_backend("gridftp", {"url": gridftp_server[0]}) as backend:
        closed = place / "closed"
        closed.mkdir(mode=0o700)
        (closed / "x").write_text("secret")
        if os.geteuid() != 0:
            closed.chmod(0)
        for name in (f"{place}/closed/x".lstrip("/"), f"{place}/closed/sub/new".lstrip("/")):
            with pytest.raises(StorageDeniedError, match=f"{name}.*ermission denied"):
                backend.fetch(name, job / "x")
            with pytest.raises(StorageDeniedError, match=f"{name}.*ermission denied"):
                backend.store(put(job, "new"), name, within=job)
        closed.chmod(0o700)


def test_an_unreadable_file_of_a_tree_is_named(
    backend: StorageBackend, place: Path, job: Path
) -> None:
    for number in range(3):
        put(place, f"tree/{number}")
    (place / "tree/1").chmod(0)
    with pytest.raises(StorageDeniedError, match=r"file 'tree/1'.*ermission denied"):
        backend.fetch("tree/", job / "in")
    assert contents(job) == {}


def _move(backend: StorageBackend, where: str, job: Path, watch: Watch) -> None:
    if where == "fetch":
        backend.fetch("large", job / "new", watch=watch)
    else:
        backend.store(job / "large", "new", within=job, watch=watch)


def test_a_killed_server_is_transient_and_leaves_nothing(
    own_server: GridFtpServer, job: Path
) -> None:
    place = gridftp.make_place(own_server.directory)
    large(place)
    backend = impatient(f"{own_server.url}{place}", stall=20.0)
    watch = OnceMoving(own_server.kill)
    with pytest.raises(StorageTransientError, match=r"'large'"):
        backend.fetch("large", job / "large", watch=watch)
    assert watch.acted
    assert contents(job) == {}
    assert _children() == []


def test_a_server_that_comes_back_is_tried_again(own_server: GridFtpServer, job: Path) -> None:
    place = gridftp.make_place(own_server.directory)
    backend = impatient(f"{own_server.url}{place}", stall=20.0, deadline=60.0)

    def restart() -> None:
        own_server.kill()
        own_server.start()

    watch = OnceMoving(restart)
    stored = backend.store(large(job), "large", within=job, watch=watch)
    assert watch.acted
    assert stored.bytes == watch.bytes == _LARGE
    assert listed(backend, "") == [("large", _LARGE)]


@pytest.mark.parametrize("where", ["fetch", "store"])
def test_a_server_that_stands_still_is_transient(
    own_server: GridFtpServer, job: Path, where: str
) -> None:
    place = gridftp.make_place(own_server.directory)
    large(place if where == "fetch" else job)
    backend = impatient(f"{own_server.url}{place}")

    def freeze() -> None:
        for process in own_server.processes():
            process.suspend()

    with pytest.raises(StorageTransientError, match=r"nothing has moved|does not answer"):
        _move(backend, where, job, OnceMoving(freeze))
    assert _children() == []
    own_server.kill()


@pytest.mark.parametrize("where", ["fetch", "store"])
def test_a_stop_in_the_middle_ends_the_program_and_leaves_nothing(
    backend: StorageBackend, place: Path, job: Path, where: str
) -> None:
    large(place if where == "fetch" else job)
    watch: OnceMoving = OnceMoving(lambda: watch.stop())
    with pytest.raises(TransferStoppedError):
        _move(backend, where, job, watch)
    assert set(contents(job)) == (set() if where == "fetch" else {"large"})
    assert [path.name for path in place.iterdir()] == (["large"] if where == "fetch" else [])
    assert _children() == []


def test_the_program_dies_with_its_process(
    gridftp_server: tuple[str, Path], place: Path, job: Path
) -> None:
    large(place)
    code = (
        "import sys; from pathlib import Path; from storage_backends import open_backend;"
        "from storage_backends.watch import Watch\n"
        "class Loud(Watch):\n"
        "    def _count(self, count):\n"
        "        super()._count(count); print('moving', flush=True)\n"
        "backend = open_backend('gridftp', {'url': sys.argv[1]})\n"
        "while True: backend.fetch('large', Path(sys.argv[2]), watch=Loud())\n"
    )
    url = f"{gridftp_server[0]}{place}"
    command = [sys.executable, "-c", code, url, str(job / "large")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == b"moving\n"
        children = wait_until(psutil.Process(caller.pid).children, what="a child")
        caller.send_signal(signal.SIGKILL)
    wait_until(lambda: not any(_runs(child) for child in children), what="the end of the children")


def test_letters_that_globus_would_drop_are_refused(backend: StorageBackend, job: Path) -> None:
    put(job, "tree/ü")
    for source, name in (("tree/ü", "ü"), ("tree", "tree/")):
        with pytest.raises(StorageDeniedError, match=r"ü.*ASCII"):
            backend.store(job / source, name, within=job)
    with pytest.raises(StorageDeniedError, match=r"ü.*ASCII"):
        backend.fetch("ü", job / "x")
    assert backend.entries("") == []


def test_such_letters_in_the_store_are_listed_but_not_fetched(
    backend: StorageBackend, place: Path, job: Path
) -> None:
    put(place, "tree/ü")
    put(place, "other/é/file")
    assert listed(backend, "tree/") == [("tree/ü", 10)]
    assert listed(backend, "other/") == [("other/é/", 0)]
    for name, letter in (("tree/", "ü"), ("other/", "é")):
        with pytest.raises(StorageDeniedError, match=f"{letter}.*ASCII"):
            backend.fetch(name, job / "in")
    assert contents(job) == {}


_LETTERS = "".join(set(string.printable) - set(string.whitespace) - set("/\\")) + " "


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    names=st.lists(
        st.text(_LETTERS, min_size=1, max_size=40).filter(lambda name: name not in (".", "..")),
        min_size=1,
        max_size=20,
        unique=True,
    )
)
def test_any_ascii_names_come_back_as_a_tree(
    backend: StorageBackend, job: Path, names: list[str]
) -> None:
    backend.remove("tree/")
    for old in job.iterdir():
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    for name in names:
        put(job, f"out/{name}", name.encode())
        put(job, f"out/sub{names[0]}/{name}", name.encode())
    backend.store(job / "out", "tree/", within=job)
    backend.fetch("tree/", job / "in")
    assert contents(job / "in") == contents(job / "out")
    backend.fetch(f"tree/{names[0]}", job / "one")
    assert (job / "one").read_text() == names[0]


def test_a_name_of_255_bytes_comes_back(backend: StorageBackend, job: Path) -> None:
    name = "/".join(["x" * 255] * 3)
    backend.store(put(job, "made", b"1"), name, within=job)
    backend.fetch(name, job / "back")
    assert (job / "back").read_bytes() == b"1"


def test_a_tree_of_many_files_comes_back(backend: StorageBackend, job: Path) -> None:
    for number in range(450):
        put(job, f"out/{number % 9}/{number}", str(number).encode())
    watch = Watch()
    stored = backend.store(job / "out", "tree/", within=job, watch=watch)
    fetched = backend.fetch("tree/", job / "in", watch=watch)
    assert contents(job / "in") == contents(job / "out")
    assert stored.bytes + fetched.bytes == watch.bytes
    assert stored.checksum == fetched.checksum


def test_a_server_without_checksums_is_compared_by_sizes(job: Path) -> None:
    with GridFtpServer("-disable-command-list", "CKSM") as server:
        place = gridftp.make_place(server.directory)
        with open_backend("gridftp", {"url": f"{server.url}{place}"}) as backend:
            stored = backend.store(put(job, "x"), "x", within=job)
            fetched = backend.fetch("x", job / "back")
            assert (stored.checksum, fetched.checksum, fetched.version) == (None, None, None)
            assert (job / "back").read_bytes() == b"some bytes"


def test_several_streams_move_one_file(
    gridftp_server: tuple[str, Path], place: Path, job: Path
) -> None:
    put(job, "made", os.urandom(30_000_000))
    options = {"url": f"{gridftp_server[0]}{place}", "streams": 4}
    with open_backend("gridftp", options) as backend:
        backend.store(job / "made", "x", within=job)
        backend.fetch("x", job / "back")
    assert (job / "back").read_bytes() == (job / "made").read_bytes()


def test_a_loop_of_links_in_the_store_ends(backend: StorageBackend, place: Path) -> None:
    put(place, "tree/sub/file")
    (place / "tree/sub/again").symlink_to("..")
    names = [name for name, _ in listed(backend, "tree/")]
    assert "tree/sub/file" in names
    assert len(names) < 10


def test_what_another_upload_has_begun_is_not_listed(backend: StorageBackend, place: Path) -> None:
    (place / "tree").mkdir()
    (place / "tree").chmod(0o777)
    put(place, f"tree/.{'0' * 32}.part")
    put(place, "tree/file")
    assert listed(backend, "tree/") == [("tree/file", 10)]
    backend.remove("tree/")
    assert list(place.iterdir()) == []


def test_a_file_that_was_not_stored_leaves_the_one_before(
    backend: StorageBackend, place: Path, job: Path
) -> None:
    put(place, "x/inside")
    with pytest.raises(StorageNotFoundError, match=r"'x'.*directory"):
        backend.store(put(job, "x"), "x", within=job)
    assert contents(place) == {"x": None, "x/inside": b"some bytes"}


def _children() -> list[psutil.Process]:
    """Programs of Globus that this process has started and that still run, or were not waited for.

    The servers' guards are children too.
    """
    return [
        child
        for child in psutil.Process().children()
        if child.status() == psutil.STATUS_ZOMBIE
        or "globus_child" in " ".join(child.cmdline())
        or child.name().startswith("globus-url")
    ]


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
