"""The transfer process of an executor: its start, its death, and what dies with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from executor.files.transfers import Transfers
from executor.nursery import Nursery
from executor.settings import ExecutorSettings
from messaging.errors import UsageError
from storage_backends.errors import StorageNotFoundError, StorageTransientError
from storage_backends.service.client import RemoteBackend
from tests.executor.processes import runs
from tests.waiting import wait_until


@pytest.fixture
def transfers(nursery: Nursery, tmp_path: Path) -> Iterator[Transfers]:
    transfers = Transfers(nursery, ExecutorSettings(cache_gb=0.001), tmp_path / "work")
    yield transfers
    transfers.stop()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """The directory behind the served backend."""
    directory = tmp_path / "store"
    directory.mkdir()
    (directory / "in").write_text("input")
    return directory


@pytest.fixture
def backend(transfers: Transfers, store: Path) -> Iterator[RemoteBackend]:
    with closing(RemoteBackend(transfers.address, "nfs", {"workdir": str(store)})) as backend:
        yield backend


def pid_of(transfers: Transfers) -> int:
    assert transfers.pid is not None
    return transfers.pid


def kill(transfers: Transfers) -> int:
    """SIGKILL the process; its pid."""
    pid = pid_of(transfers)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not runs(pid), what="the death of the transfer process")
    return pid


def test_it_starts_when_first_asked_for(transfers: Transfers, store: Path, tmp_path: Path) -> None:
    assert transfers.pid is None
    with closing(RemoteBackend(transfers.address, "nfs", {"workdir": str(store)})) as backend:
        assert backend.shared_directory is None
        assert backend.fetch("in", tmp_path / "got").bytes == 5
        backend.store(tmp_path / "got", "deep/out", within=tmp_path)
        assert [entry.name for entry in backend.entries("deep/")] == ["deep/out"]
        backend.remove("deep/")
        with pytest.raises(StorageNotFoundError, match="deep/out"):
            backend.fetch("deep/out", tmp_path / "x")
    pid = transfers.pid
    transfers.address()
    assert transfers.pid == pid


def test_its_socket_is_nobody_elses(transfers: Transfers) -> None:
    directory = Path(transfers.address()).parent
    assert directory.stat().st_mode & 0o077 == 0


def test_after_its_death_another_is_started(
    transfers: Transfers, backend: RemoteBackend, tmp_path: Path
) -> None:
    for number in range(3):
        killed = kill(transfers)
        assert backend.fetch("in", tmp_path / str(number)).bytes == 5
        assert transfers.pid != killed


def test_a_call_under_way_is_made_again_on_the_next_one(
    transfers: Transfers, backend: RemoteBackend, tmp_path: Path
) -> None:
    os.kill(pid_of(transfers), signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        fetch = threads.submit(backend.fetch, "in", tmp_path / "got")
        wait_until(lambda: not backend._idle, what="the call")
        kill(transfers)
        assert fetch.result(20).bytes == 5
    assert (tmp_path / "got").read_text() == "input"


def test_one_that_hangs_is_killed_and_another_does_its_work(
    nursery: Nursery, store: Path, tmp_path: Path
) -> None:
    transfers = Transfers(nursery, ExecutorSettings(), tmp_path / "work", patience=1.0)
    options = {"workdir": str(store)}
    with closing(RemoteBackend(transfers.address, "nfs", options, silence=1.0)) as backend:
        hangs = pid_of(transfers)
        os.kill(hangs, signal.SIGSTOP)
        assert backend.fetch("in", tmp_path / "got").bytes == 5
    assert not runs(hangs)
    assert transfers.pid != hangs
    transfers.stop()


class FullNursery(Nursery):
    """Has no room for another process."""

    def start_process(self, *_: Any) -> Any:
        raise OSError("no room")


def test_one_that_cannot_be_started_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    transfers = Transfers(FullNursery(), ExecutorSettings(), tmp_path)
    for _ in range(3):
        with pytest.raises(StorageTransientError, match="no room"):
            transfers.address()
    transfers.stop()
    assert list(tmp_path.iterdir()) == []


def test_a_service_managers_sigterm_does_not_end_it_before_its_jobs(
    transfers: Transfers, backend: RemoteBackend, tmp_path: Path
) -> None:
    pid = pid_of(transfers)
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    assert backend.fetch("in", tmp_path / "got").bytes == 5
    assert transfers.pid == pid
    assert os.getsid(pid) == pid


def test_stop_ends_it_for_good(transfers: Transfers, backend: RemoteBackend) -> None:
    directory, pid = Path(transfers.address()).parent, pid_of(transfers)
    transfers.stop()
    assert not runs(pid)
    assert not directory.exists()
    with pytest.raises(StorageTransientError, match="the executor stops"):
        backend.entries("in")


@pytest.mark.parametrize(
    ("storage", "options", "said"),
    [
        ("ftp", {}, "unknown storage backend 'ftp'"),
        ("nfs", {"workdir": "/not/mounted"}, "mount it"),
        ("local", {"workdir": "/not/mounted"}, "mount it"),
        ("nfs", {"workdir": "relative"}, "absolute path"),
        ("gcs", {"bucket": "bucket", "prefix": "../elsewhere"}, "elsewhere"),
    ],
)
def test_a_wrong_default_is_said_at_once(
    nursery: Nursery, tmp_path: Path, storage: str, options: dict[str, Any], said: str
) -> None:
    settings = ExecutorSettings(storage=storage, storage_options=options)
    transfers = Transfers(nursery, settings, tmp_path)
    with pytest.raises(UsageError, match=said):
        transfers.check()
    transfers.stop()


@pytest.mark.parametrize("storage", ["local", "nfs", "gcs", "cloud"])
def test_a_default_that_jobs_must_complete_is_right(
    nursery: Nursery, tmp_path: Path, storage: str
) -> None:
    transfers = Transfers(nursery, ExecutorSettings(storage=storage), tmp_path)
    transfers.check()
    assert transfers.pid is None


def test_a_long_temporary_directory_is_not_in_its_way(
    transfers: Transfers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    assert Path(transfers.address()).exists()


def test_it_dies_with_its_executor_and_leaves_no_socket(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from executor.nursery import Nursery
from executor.settings import ExecutorSettings
from executor.files.transfers import Transfers
nursery = Nursery()
nursery.start()
transfers = Transfers(nursery, ExecutorSettings(), Path({str(tmp_path)!r}))
print(transfers.address(), transfers.pid, flush=True)
sys.stdin.read()
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environ,
        text=True,
    )
    assert parent.stdout is not None
    address, pid = parent.stdout.readline().split()
    assert runs(int(pid))
    parent.kill()
    parent.communicate()
    wait_until(lambda: not runs(int(pid)), 5.0, what="the end of the transfer process")
    assert not Path(address).parent.exists()
