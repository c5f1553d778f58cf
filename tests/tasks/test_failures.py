"""Failures of phases: what they tell, and whose fault they are."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from executor.context import current_context
from executor.failures import PhaseFailedError, PhaseOutageError, phase_error
from messaging.errors import JobError, PortfireError, ServiceError, UsageError
from storage_backends import open_backend
from storage_backends.errors import StorageTransientError
from tests.storage_backends.stores import other_file_system


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (JobError("x"), PhaseFailedError),
        (UsageError("x"), PhaseFailedError),
        (ServiceError("x"), PhaseOutageError),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/jobs/x"), PhaseOutageError),
        (FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/x"), PhaseFailedError),
    ],
)
def test_the_cause_decides_whose_fault_it_is(
    cause: PortfireError | OSError, kind: type[PortfireError]
) -> None:
    error = phase_error("stage-out", cause)
    assert type(error) is kind
    assert error.to_dict()["phase"] == "stage-out"
    assert phase_error("stage-in", error) is error


def test_a_reason_is_one_line_of_bounded_length() -> None:
    error = phase_error("execution", JobError("first\nsecond " + "x" * 10_000))
    assert error.reason.startswith("first second x")
    assert len(error.reason) == 500


def test_a_reason_can_be_sent_whatever_a_file_is_called() -> None:
    error = phase_error("execution", JobError(os.fsdecode(b"no file \xff")))
    assert error.reason.encode() == b"no file ?"


def test_a_full_store_is_transient_and_keeps_nothing_half_written(tmp_path: Path) -> None:
    job = tmp_path / "job"
    job.mkdir()
    with (job / "big").open("wb") as file:
        file.truncate(100_000_000)
    with other_file_system(tmp_path / "store") as store:
        backend = open_backend("nfs", {"workdir": str(store)})
        with pytest.raises(StorageTransientError, match="No space left"):
            backend.store(job / "big", "big", within=job)
        assert backend.entries("") == []


def test_a_task_without_an_executor_takes_its_storage_from_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STORAGE", "nfs")
    assert current_context().storage == "nfs"
    monkeypatch.delenv("STORAGE")
    assert current_context().storage == "local"
