"""What an executor learns from its VM at the start, and what becomes of it in the settings."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from executor.settings import ExecutorSettings
from executor.vm.place import Vm, describe_vm, warn_of_misspellings
from messaging.errors import UsageError
from messaging.settings import load
from tests.services.metadata_server import MetadataServer
from tests.services.mongodb import free_port


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert all("\n" not in line for line in lines)
    return lines


def test_the_vm_describes_itself(
    metadata: MetadataServer, caplog: pytest.LogCaptureFixture
) -> None:
    metadata.set_attributes(pool="gpu")
    metadata.make_preemptible()
    assert describe_vm(metadata.host) == Vm(
        host=metadata.host,
        name="vm-1",
        zone="us-central1-a",
        project="my-project",
        preemptible=True,
        attributes={"pool": "gpu"},
    )
    assert warnings(caplog) == []


def test_without_metadata_one_line_says_so_and_it_goes_on(
    metadata: MetadataServer, caplog: pytest.LogCaptureFixture
) -> None:
    absent = f"127.0.0.1:{free_port()}"
    assert describe_vm(absent) == Vm(host=absent)
    for trouble, value in (
        ("status", 500),
        ("no_flavor", True),
        ("body", b"{half"),
        ("body", b"[1]"),
        ("body", b"\xff"),
        ("delay", 30.0),
    ):
        setattr(metadata.troubles, trouble, value)
        assert describe_vm(metadata.host, seconds=2.0) == Vm(host=metadata.host)
        setattr(metadata.troubles, trouble, {"status": 200, "delay": 0.0}.get(trouble))
    lines = warnings(caplog)
    assert len(lines) == 7
    assert all(line.endswith("going on without this VM's metadata") for line in lines)


def test_what_a_server_lacks_is_left_empty(metadata: MetadataServer) -> None:
    metadata.troubles.missing = {"instance/scheduling/preemptible", "project/project-id"}
    vm = describe_vm(metadata.host)
    assert (vm.name, vm.project, vm.preemptible) == ("vm-1", "", False)


def test_attributes_go_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.yml"
    file.write_text("threads: 2\npool: file\nprefix: file\nstorage: nfs\n")
    vm = Vm(
        host="", name="vm-7", project="vms", attributes={"threads": " 4 ", "startup-script": ""}
    )
    settings = load(
        ExecutorSettings,
        flags={"storage": "gs://flag"},
        file=file,
        environ={"THREADS": "3", "PORTFIRE_POOL": "variable"},
        attributes={**vm.attributes, "storage": "gs://attribute", "prefix": ""},
        defaults=vm.defaults(),
    )
    assert (settings.threads, settings.pool, settings.prefix) == (4, "variable", "file")
    assert settings.storage == "gs://flag"
    assert settings.executor_id == "vm-7"
    assert vm.complete(settings).project == "vms"
    elsewhere = settings.model_copy(update={"emulator_host": "localhost:8085"})
    assert vm.complete(elsewhere).project == ""
    assert (settings.idle_for_rockets, settings.idle_for_waiters) == (900.0, 3600.0)


def test_everything_else_goes_before_what_the_vm_is(tmp_path: Path) -> None:
    file = tmp_path / "settings.yml"
    file.write_text("executor_id: mine\nidle_for_rockets: 0\n")
    settings = load(ExecutorSettings, file=file, defaults=Vm(host="", name="vm-7").defaults())
    assert (settings.executor_id, settings.idle_for_rockets) == ("mine", 0.0)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"threads": "four"}, "metadata attribute threads is 'four'"),
        ({"idle_for_rockets": "-1"}, "metadata attribute idle_for_rockets is '-1'"),
        ({"pool": "a b\nc"}, "metadata attribute pool is"),
        ({"storage_options": '{"key": "s3cret"}'}, "metadata attribute storage_options is not"),
    ],
)
def test_a_wrong_attribute_is_one_line_that_names_it(attributes: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(ExecutorSettings, attributes=attributes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_misspelt_attributes_are_told_of_and_others_are_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    names = ("thread", "PORTFIRE_POOL", "idle-for-rockets", "pool")
    others = ("startup-script", "ssh-keys", "enable-oslogin", "user-data", "quit", "db")
    warn_of_misspellings({*names, *others}, ExecutorSettings.model_fields)
    lines = sorted(warnings(caplog))
    assert len(lines) == 3
    assert "PORTFIRE_POOL is no setting and not used: did you mean pool?" in lines[0]
