"""FireWorks' _files_in and _files_out between two executors that share no directory."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fireworks import Firework, LaunchPad, ScriptTask, Workflow

from storage_backends import open_backend
from tests.faults.ledger import launches_of, wait_for_state
from tests.faults.site import Site
from tests.services import s3
from tests.services.gcs_emulator import new_bucket, shared_emulator


@pytest.fixture
def site(launchpad: LaunchPad, tmp_path: Path) -> Iterator[Site]:
    """An installation with a dispatcher, and no executor yet."""
    with Site(tmp_path, launchpad) as site:
        site.start_broker()
        site.start_dispatcher()
        site.watch()
        yield site


def family(
    line: str, files_out: dict[str, str], child_line: str, files_in: dict[str, str]
) -> Workflow:
    """A parent and a child of one shell line each."""
    parent = Firework(ScriptTask.from_str(line), spec={"_files_out": files_out}, name="parent")
    child = Firework(ScriptTask.from_str(child_line), spec={"_files_in": files_in}, name="child")
    return Workflow([parent, child], {parent: [child]})


#: Hands one file over.
_ONE = ("echo hello > text", {"text": "text"}, "cat copy > seen", {"text": "copy"})


def run_apart(
    site: Site, launchpad: LaunchPad, family: Workflow, first: dict[str, Any], then: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run parent and child on two executors, one gone with all its files before the other comes.

    Returns the child's stored spec and its launch.
    """
    launchpad.add_wf(family)
    [child] = launchpad.get_fw_ids({"name": "child"})
    launchpad.pause_fw(child)
    executor = site.start_executor(**first)
    wait_for_state(launchpad, "parent", "COMPLETED")
    executor.kill()
    shutil.rmtree(site.workdir)
    launchpad.resume_fw(child)
    site.start_executor(**then)
    wait_for_state(launchpad, "child", "COMPLETED")
    [launch] = launches_of(launchpad, "child")
    return launchpad.get_fw_by_id(child).spec, launch


def handed_over(site: Site, launchpad: LaunchPad, **settings: Any) -> tuple[str, Path]:
    """Hand a compressed file over; its address in the child's spec, and the child's directory."""
    spec, launch = run_apart(
        site,
        launchpad,
        family(
            "mkdir out && echo hello > out/text && gzip out/text",
            {"text": "out/t*.gz", "unmatched": "nothing*"},
            "cat copy > seen",
            {"text": "copy", "other": "x"},
        ),
        settings,
        settings,
    )
    directory = Path(launch["launch_dir"])
    # FireWorks unpacks by the name.
    assert (directory / "seen").read_text() == "hello\n"
    assert not list(directory.glob(".portfire-*"))
    assert list(spec["_files_prev"]) == ["text"]
    address: str = spec["_files_prev"]["text"]
    return address, directory


def test_through_nfs_that_is_mounted_elsewhere_on_each_machine(
    site: Site, launchpad: LaunchPad, tmp_path: Path
) -> None:
    store = tmp_path / "mount-1"
    store.mkdir()
    (tmp_path / "mount-2").symlink_to(store)
    spec, launch = run_apart(
        site,
        launchpad,
        family(*_ONE),
        {"storage": "nfs", "storage_options": {"workdir": str(store), "prefix": "run"}},
        {"storage": "nfs", "storage_options": {"workdir": str(tmp_path / "mount-2/run")}},
    )
    assert (Path(launch["launch_dir"]) / "seen").read_text() == "hello\n"
    address = spec["_files_prev"]["text"]
    assert address.startswith("portfire-storage:_files/fw")
    assert address.endswith("-1/text/text")
    assert (store / "run" / address.partition(":")[2]).read_text() == "hello\n"
    site.event("job.stage-out.finished")
    staged = {event.type: event for event in site.seen("job.stage-out.finished")}
    assert [event.bytes for event in staged.values()] == [6]  # type: ignore[attr-defined]


def test_through_cloud_storage(site: Site, launchpad: LaunchPad) -> None:
    endpoint = shared_emulator()
    bucket = new_bucket(endpoint)
    address, _ = handed_over(
        site,
        launchpad,
        storage=f"gs://{bucket}/base",
        storage_options={"endpoint": endpoint},
    )
    assert address.startswith(f"gs://{bucket}/base/_files/fw")
    with open_backend("gcs", {"bucket": bucket, "endpoint": endpoint}) as backend:
        assert address.endswith("/text/text.gz")
        target = site.directory / "fetched"
        backend.fetch(address.removeprefix(f"gs://{bucket}/"), target)
    assert gzip.decompress(target.read_bytes()) == b"hello\n"


def test_through_s3(site: Site, launchpad: LaunchPad) -> None:
    endpoint = s3.shared_endpoint()
    bucket = s3.make_bucket(endpoint)
    address, _ = handed_over(
        site,
        launchpad,
        storage="s3",
        storage_options={"bucket": bucket, "endpoint_url": endpoint, **s3.CREDENTIALS},
    )
    assert address.startswith(f"s3://{bucket}/_files/fw")


def test_with_a_shared_directory_the_paths_are_fireworks_own(
    site: Site, launchpad: LaunchPad, tmp_path: Path
) -> None:
    launchpad.add_wf(family(*_ONE))
    site.start_executor(storage="local", storage_options={"workdir": str(tmp_path)})
    wait_for_state(launchpad, "child", "COMPLETED")
    [parent] = launches_of(launchpad, "parent")
    [fw_id] = launchpad.get_fw_ids({"name": "child"})
    expected = f"{parent['launch_dir']}/text"
    assert launchpad.get_fw_by_id(fw_id).spec["_files_prev"] == {"text": expected}


def failed(site: Site, launchpad: LaunchPad, name: str) -> Any:
    """The job.finished event of a Firework that is to be FIZZLED."""
    wait_for_state(launchpad, name, "FIZZLED")
    site.event("job.finished")
    return site.seen("job.finished")[-1]


@pytest.mark.parametrize(
    ("line", "pattern", "says"),
    [
        ("ln -s /etc/hosts text", "text", "text"),
        ("true", "/etc/hosts", "is not in the launch directory"),
    ],
)
def test_a_file_that_is_not_the_launchs_own_is_not_handed_over(
    site: Site, launchpad: LaunchPad, tmp_path: Path, line: str, pattern: str, says: str
) -> None:
    launchpad.add_wf(family(line, {"text": pattern}, "true", {}))
    store = tmp_path / "store"
    store.mkdir()
    site.start_executor(storage="nfs", storage_options={"workdir": str(store)})
    event = failed(site, launchpad, "parent")
    assert event.phase == "stage-out"
    assert says in event.reason
    assert not [path for path in store.rglob("*") if path.is_file()]


def test_a_file_that_is_gone_fails_the_child_at_stage_in(
    site: Site, launchpad: LaunchPad, tmp_path: Path
) -> None:
    (tmp_path / "store").mkdir()
    spec = {
        "_files_in": {"text": "copy"},
        "_files_prev": {"text": "portfire-storage:_files/x/text"},
    }
    launchpad.add_wf(Firework(ScriptTask.from_str("true"), spec=spec, name="child"))
    options = {"workdir": str(tmp_path / "store")}
    site.start_executor(storage="nfs", storage_options=options)
    event = failed(site, launchpad, "child")
    assert event.phase == "stage-in"
    assert "_files/x/text" in event.reason


def test_an_address_in_the_executors_storage_needs_one(site: Site, launchpad: LaunchPad) -> None:
    spec = {
        "_files_in": {"text": "copy"},
        "_files_prev": {"text": "portfire-storage:_files/x/text"},
    }
    launchpad.add_wf(Firework(ScriptTask.from_str("true"), spec=spec, name="child"))
    site.start_executor()
    event = failed(site, launchpad, "child")
    assert "this one has none: give all of them the same storage" in event.reason
