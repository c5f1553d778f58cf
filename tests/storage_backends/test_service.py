"""Storage served to other processes: errors, progress, and how a transfer ends with its client."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from multiprocessing.connection import Listener
from pathlib import Path
from typing import Any

import pytest

from messaging.errors import JobInterrupted, PortfireError, UsageError
from storage_backends import errors
from storage_backends.contract import StorageBackend, Transfer, Upload
from storage_backends.service.backends import OpenBackends
from storage_backends.service.client import RemoteBackend
from storage_backends.service.records import Failure, Open, Result
from storage_backends.watch import TransferStoppedError, Watch
from tests.storage_backends.memory import MemoryBackend
from tests.storage_backends.serving import serving, serving_one
from tests.storage_backends.stalling import Stall
from tests.storage_backends.stores import FaultyBackend
from tests.waiting import wait_until

BLOCK = 1 << 16


@pytest.fixture
def store() -> MemoryBackend:
    return MemoryBackend(BLOCK)


@pytest.fixture
def address(store: MemoryBackend) -> Iterator[str]:
    with serving_one(store) as address:
        yield address


@pytest.fixture
def backend(address: str) -> Iterator[RemoteBackend]:
    with closing(RemoteBackend(lambda: address, "memory", {})) as backend:
        yield backend


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job's directory with an output of ten blocks."""
    (tmp_path / "out").write_bytes(bytes(10 * BLOCK))
    return tmp_path


def test_an_error_comes_out_as_the_type_that_it_was(store: MemoryBackend, tmp_path: Path) -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    wrong = [kind for kind in kinds if issubclass(kind, errors.StorageError)]
    assert len(wrong) >= 5
    raised: list[PortfireError] = []

    def fault(_call: str, _name: str) -> None:
        raise raised[-1]

    with (
        serving_one(FaultyBackend(store, fault)) as address,
        RemoteBackend(lambda: address, "memory", {}) as backend,
    ):
        for kind in wrong:
            raised.append(kind("fetching file 'x': no"))
            with pytest.raises(errors.StorageError) as caught:
                backend.fetch("x", tmp_path / "x")
            assert str(caught.value) == "fetching file 'x': no"
            assert type(caught.value) in kind.__mro__
            assert type(caught.value) is not errors.StorageError or kind is errors.StorageError


def test_a_fault_of_ours_is_an_error_too_and_the_connection_lives_on(
    store: MemoryBackend, tmp_path: Path
) -> None:
    def fault(_call: str, name: str) -> None:
        if name == "bad":
            raise ZeroDivisionError("a bug")

    with (
        serving_one(FaultyBackend(store, fault)) as address,
        RemoteBackend(lambda: address, "memory", {}) as backend,
    ):
        with pytest.raises(errors.StorageTransientError, match="ZeroDivisionError: a bug"):
            backend.fetch("bad", tmp_path / "x")
        store.put("good", b"x")
        assert backend.fetch("good", tmp_path / "x").bytes == 1


def test_what_is_wrong_with_an_option_is_said_when_it_is_opened() -> None:
    def opener(_name: str, _options: Mapping[str, Any]) -> StorageBackend:
        raise UsageError("option bucket is missing")

    with serving(opener) as address, pytest.raises(UsageError, match="option bucket is missing"):
        RemoteBackend(lambda: address, "gcs", {})


def test_credentials_are_in_no_text(caplog: pytest.LogCaptureFixture) -> None:
    assert "secret" not in repr(Open("s3", {"key": "secret"}))

    def opener(_name: str, _options: Mapping[str, Any]) -> StorageBackend:
        raise ZeroDivisionError

    with serving(opener) as address, pytest.raises(errors.StorageTransientError):
        RemoteBackend(lambda: address, "s3", {"key": "secret"})
    assert "secret" not in caplog.text


def test_an_error_of_an_unknown_kind_is_one_of_the_nearest_that_is_known() -> None:
    class StorageTornError(errors.StorageCorruptError):
        pass

    assert type(Failure.of(StorageTornError("torn")).error()) is errors.StorageCorruptError


def test_the_client_sees_how_far_a_transfer_is(
    store: MemoryBackend, backend: RemoteBackend, job: Path
) -> None:
    stall = store.before_block = Stall()
    watch = Watch()
    with ThreadPoolExecutor(1) as threads:
        transfer = threads.submit(backend.store, job / "out", "out", within=job, watch=watch)
        assert stall.begun.wait(10)
        wait_until(lambda: watch.bytes == 2 * BLOCK, what="progress")
        watch.stop()
        with pytest.raises(TransferStoppedError):
            transfer.result(10)


def test_a_stopped_transfer_has_ended_when_its_call_has(
    store: MemoryBackend, backend: RemoteBackend, job: Path
) -> None:
    stall = store.before_block = Stall()
    watch = Watch()
    with ThreadPoolExecutor(1) as threads:
        transfer = threads.submit(backend.store, job / "out", "out", within=job, watch=watch)
        assert stall.begun.wait(10)
        watch.stop()
        with pytest.raises(TransferStoppedError):
            transfer.result(10)
    assert stall.stopped
    assert store.files == {}
    # And the next call finds a backend that works.
    assert backend.store(job / "out", "out", within=job).bytes == 10 * BLOCK


class InterruptingStore(MemoryBackend):
    """Sends SIGUSR1 to this process in the middle of a request that cannot be stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = threading.Event()

    def store(
        self, source: Path, name: str, *, within: Path, watch: Watch | None = None
    ) -> Transfer:
        os.kill(os.getpid(), signal.SIGUSR1)
        threading.Event().wait(1.0)  # so long an answer of the store takes
        try:
            return super().store(source, name, within=within, watch=watch)
        finally:
            self.ended.set()


def test_an_upload_that_a_signal_interrupts_has_ended_when_its_call_has(job: Path) -> None:
    def interrupt(*_: object) -> None:
        raise JobInterrupted("SIGUSR1")

    store = InterruptingStore()
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with (
            serving_one(store) as address,
            RemoteBackend(lambda: address, "memory", {}) as backend,
        ):
            with pytest.raises(JobInterrupted):
                backend.store(job / "out", "out", within=job)
            assert store.ended.is_set()
            assert store.files == {}
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_the_upload_of_a_client_that_is_killed_stops(
    store: MemoryBackend, address: str, job: Path, number: signal.Signals
) -> None:
    stall = store.before_block = Stall()
    script = f"""
from pathlib import Path
from storage_backends.service.client import RemoteBackend
backend = RemoteBackend(lambda: {address!r}, "memory", {{}})
backend.store(Path({str(job / "out")!r}), "out", within=Path({str(job)!r}))
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    client = subprocess.Popen([sys.executable, "-c", script], env=environ, stderr=subprocess.PIPE)
    assert stall.begun.wait(20)
    client.send_signal(number)
    client.communicate(timeout=20)
    wait_until(lambda: stall.stopped, what="the stop of the upload")
    assert store.files == {}


def test_many_threads_may_share_a_backend(backend: RemoteBackend, job: Path) -> None:
    def there_and_back(number: int) -> bytes:
        source, target = job / f"made-{number}", job / f"back-{number}"
        source.write_bytes(b"%d" % number)
        backend.store(source, str(number), within=job)
        backend.fetch(str(number), target)
        return target.read_bytes()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(there_and_back, range(40))) == [b"%d" % n for n in range(40)]


def test_many_files_are_one_request(backend: RemoteBackend, job: Path) -> None:
    uploads = []
    for number in range(300):
        (job / str(number)).write_bytes(b"%d" % number)
        uploads.append(Upload(job / str(number), f"in/{number}", job))
    assert len(backend.store_all(uploads)) == 300
    watch = Watch()
    wanted = {upload.name: job / "back" / upload.name for upload in uploads}
    fetched = backend.fetch_all(wanted, watch=watch)
    assert watch.bytes == sum(transfer.bytes for transfer in fetched.values()) == 790
    assert all(wanted[u.name].read_bytes() == u.source.read_bytes() for u in uploads)


def test_a_call_whose_second_process_dies_too_is_an_error_that_may_pass(tmp_path: Path) -> None:
    requests: list[object] = []

    def die_when_asked(listener: Listener) -> None:
        for _ in range(2):
            with listener.accept() as connection:
                assert isinstance(connection.recv(), Open)
                connection.send(Result(None))
                requests.append(connection.recv())

    with tempfile.TemporaryDirectory() as directory:
        address = f"{directory}/socket"
        with Listener(address, "AF_UNIX") as listener, ThreadPoolExecutor(1) as threads:
            server = threads.submit(die_when_asked, listener)
            with (
                closing(RemoteBackend(lambda: address, "memory", {})) as backend,
                pytest.raises(errors.StorageTransientError, match="the transfer process ended"),
            ):
                backend.fetch("in", tmp_path / "got")
            server.result(10)
    assert len(requests) == 2


def test_a_server_that_says_nothing_any_more_is_left(tmp_path: Path) -> None:
    requests: list[object] = []

    def hang_when_asked(listener: Listener) -> None:
        for _ in range(2):
            with listener.accept() as connection:
                assert isinstance(connection.recv(), Open)
                connection.send(Result(None))
                requests.append(connection.recv())
                with pytest.raises(EOFError):
                    connection.recv()

    with tempfile.TemporaryDirectory() as directory:
        address = f"{directory}/socket"
        with Listener(address, "AF_UNIX") as listener, ThreadPoolExecutor(1) as threads:
            server = threads.submit(hang_when_asked, listener)
            with (
                closing(RemoteBackend(lambda: address, "memory", {}, silence=0.3)) as backend,
                pytest.raises(errors.StorageTransientError, match="has said nothing for"),
            ):
                backend.fetch("in", tmp_path / "got")
            server.result(10)
    assert len(requests) == 2


def test_a_server_that_cannot_be_reached_is_an_error_that_may_pass(tmp_path: Path) -> None:
    with pytest.raises(errors.StorageTransientError, match="cannot be reached"):
        RemoteBackend(lambda: str(tmp_path / "nothing"), "memory", {})


def test_a_backend_is_open_once_for_all_and_closed_when_others_are_used() -> None:
    opened: list[str] = []
    closed: list[str] = []

    class Closing(MemoryBackend):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name
            opened.append(name)

        def close(self) -> None:
            closed.append(self.name)

    backends = OpenBackends(lambda name, _options: Closing(name), kept=1)
    with backends.borrow("a", {"x": 1, "y": 2}), backends.borrow("a", {"y": 2, "x": 1}):
        assert opened == ["a"]
        with backends.borrow("b", {}), backends.borrow("c", {}):
            assert closed == []
        assert len(closed) == 1
    with backends.borrow("a", {"x": 2}):
        pass
    assert opened == ["a", "b", "c", "a"]
    assert len(closed) == 3
