"""An executor deletes its VM, through Google's own client library and a fake Compute Engine."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from executor.vm import deletion
from executor.vm.deletion import ENDPOINT_VARIABLE, delete_this_vm
from messaging.errors import PortfireError
from tests.executor.vm.conftest import VM, ZONE
from tests.services.gce import FakeGce, Fault
from tests.services.metadata_server import MetadataServer


@pytest.fixture(autouse=True)
def _on_this_vm(
    metadata: MetadataServer, gce: FakeGce, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(ENDPOINT_VARIABLE, gce.address)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    # google.auth has read the environment when it was imported.
    monkeypatch.setattr("google.auth.compute_engine._metadata._GCE_METADATA_HOST", metadata.host)
    monkeypatch.setattr(deletion, "_PAUSES", (0.01, 0.01))


def test_the_vm_is_deleted_with_its_own_credentials(
    metadata: MetadataServer, gce: FakeGce, tmp_path: Path
) -> None:
    assert delete_this_vm(metadata.host).name == VM
    [call] = gce.called("instances.delete")
    assert (call.at["zone"], call.at["instance"]) == (ZONE, VM)
    assert any(asked.path.endswith("/token") for asked in metadata.asked)
    assert list(tmp_path.iterdir()) == []


def test_what_passes_is_tried_again(metadata: MetadataServer, gce: FakeGce) -> None:
    gce.faults += [Fault("instances.delete", 503), Fault("instances.delete", 429)]
    delete_this_vm(metadata.host)
    assert len(gce.called("instances.delete")) == 3


def test_a_vm_that_is_gone_already_is_fine(metadata: MetadataServer, gce: FakeGce) -> None:
    gce.faults.append(Fault("instances.delete", 404, "notFound", "no such VM"))
    delete_this_vm(metadata.host)


@pytest.mark.parametrize("code", [401, 403])
def test_without_the_right_to_it_says_which_is_missing_and_asks_for_power_off(
    metadata: MetadataServer, gce: FakeGce, tmp_path: Path, code: int
) -> None:
    gce.faults.append(Fault("instances.delete", code, "forbidden", "Required permission", 100))
    with pytest.raises(
        PortfireError, match=r"give its service account compute\.instances"
    ) as caught:
        delete_this_vm(metadata.host)
    assert "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["power-off"]


def test_without_metadata_it_gives_up_after_some_attempts(
    metadata: MetadataServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    metadata.troubles.status = 500
    with pytest.raises(PortfireError, match="answers instance/name with 500"):
        delete_this_vm(metadata.host)
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 2
    assert [file.name for file in tmp_path.iterdir()] == ["power-off"]
