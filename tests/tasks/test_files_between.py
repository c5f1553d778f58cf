"""What happens to a Firework's spec and FWAction when its files go through the storage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fireworks import Firework, ScriptTask

from executor.failures import PhaseError
from executor.files.between import FilesBetween, store_if_possible
from messaging.errors import JobInterrupted
from tests.tasks.conftest import RecordingContext

OWN = "portfire-storage:_files/parent-1/text/"


@pytest.fixture
def files(context: RecordingContext) -> FilesBetween:
    return FilesBetween(context, attempt="job-1")


def firework(files_in: dict[str, str], previous: dict[str, str], **spec: Any) -> Firework:
    spec = {**spec, "_files_in": files_in, "_files_prev": previous}
    return Firework(ScriptTask.from_str("true"), spec=spec)


def parent(store: Path, name: str, text: str = "hello\n") -> str:
    """A file that a parent has left in the store; its address."""
    place = store / "_files/parent-1/text" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return OWN + name


def handing(**paths: object) -> dict[str, Any]:
    mods = [{"_set": {f"_files_prev->{key}": path}} for key, path in paths.items()]
    return {"stored_data": {"x": 1}, "mod_spec": [{"_push": {"a": 1}}, *mods]}


def test_the_rocket_sees_copies_and_the_tasks_see_addresses(
    files: FilesBetween, store: Path, launch_directory: Path, context: RecordingContext
) -> None:
    address = parent(store, "50% of a.txt.gz")
    previous = {"text": address, "path": "/elsewhere/x", "unwanted": f"{OWN}nothing"}
    child = firework({"text": "t", "path": "p", "missing": "m"}, dict(previous))
    files.bring(child)
    seen = child.spec["_files_prev"]
    # FireWorks knows what is compressed by the end of the name.
    assert seen["text"].endswith(".txt.gz")
    assert Path(seen["text"]).read_text() == "hello\n"
    assert Path(seen["text"]).is_relative_to(launch_directory)
    assert {**seen, "text": address} == previous
    assert context.fields("stage-in.finished")["bytes"] == 6
    assert context.fields("stage-in.finished")["backend"] == "nfs"
    for _ in range(2):
        files.settle()
        assert child.spec["_files_prev"] == previous
        assert list(launch_directory.iterdir()) == []


@pytest.mark.parametrize("spec", [{"_recovery": {"_task_n": 1}}, {"_files_in": "x"}])
def test_nothing_is_fetched_that_the_rocket_does_not_copy(
    files: FilesBetween, store: Path, context: RecordingContext, spec: dict[str, Any]
) -> None:
    child = firework({"text": "t"}, {"text": parent(store, "a")})
    child.spec.update(spec)
    files.bring(child)
    assert child.spec["_files_prev"] == {"text": OWN + "a"}
    assert context.events == []


@pytest.mark.parametrize("name", ["missing", "..", "", "a\0b"])
def test_an_address_of_no_file_fails_the_stage_in(
    files: FilesBetween, name: str, launch_directory: Path, context: RecordingContext
) -> None:
    with pytest.raises(PhaseError) as caught:
        files.bring(firework({"text": "t"}, {"text": OWN + name}))
    assert caught.value.phase == "stage-in"
    files.settle()
    assert list(launch_directory.iterdir()) == []
    assert context.types == ["stage-in.started", "stage-in.finished"]


def test_an_address_that_leads_out_of_the_storage_is_refused(files: FilesBetween) -> None:
    with pytest.raises(PhaseError) as caught:
        files.bring(firework({"text": "t"}, {"text": "portfire-storage:../../etc/hosts"}))
    assert caught.value.phase == "stage-in"


def test_paths_of_files_become_addresses_and_all_else_stays(
    files: FilesBetween, launch_directory: Path, store: Path, context: RecordingContext
) -> None:
    (launch_directory / "out").mkdir()
    (launch_directory / "out/a #1").write_text("1")
    action = handing(text=str(launch_directory / "out/a #1"), address=f"{OWN}b", number=5)
    handed = files.handed_over(action, str(launch_directory))
    assert handed == handing(
        text="portfire-storage:_files/job-1/text/a #1", address=f"{OWN}b", number=5
    )
    assert (store / "_files/job-1/text/a #1").read_text() == "1"
    assert context.asked == 1
    assert context.types == ["stage-out.started", "stage-out.finished"]


def test_with_a_shared_directory_nothing_is_done(
    context: RecordingContext, files: FilesBetween, launch_directory: Path
) -> None:
    context.storage = "local"
    (launch_directory / "a").write_text("1")
    action = handing(text=str(launch_directory / "a"))
    assert files.handed_over(action, str(launch_directory)) is action
    assert context.asked == 0


def test_after_a_failure_no_more_is_tried(
    files: FilesBetween, launch_directory: Path, context: RecordingContext
) -> None:
    action = handing(text="/etc/hosts")
    with pytest.raises(PhaseError) as caught:
        files.handed_over(action, str(launch_directory))
    assert "is not in the launch directory" in caught.value.reason
    assert files.handed_over(action, str(launch_directory)) is action
    assert context.asked == 1


def test_a_failed_launch_hands_over_what_it_can(
    files: FilesBetween, launch_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    action = handing(text="/etc/hosts")
    assert store_if_possible(files, action, str(launch_directory)) is action
    assert "could not store _files_out" in caplog.text


def test_a_launch_that_is_no_longer_ours_hands_nothing_over(
    files: FilesBetween, launch_directory: Path, store: Path, context: RecordingContext
) -> None:
    context.lease_is_lost = True
    (launch_directory / "a").write_text("1")
    with pytest.raises(JobInterrupted):
        files.handed_over(handing(text=str(launch_directory / "a")), str(launch_directory))
    assert list(store.iterdir()) == []
