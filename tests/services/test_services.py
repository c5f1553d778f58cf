"""The real parts themselves: they answer, are shared, and end with their session."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import docker
import pymongo
import pytest
from fireworks import Firework, LaunchPad, ScriptTask

from tests.services import guard, missing
from tests.services.mongodb import MongoAddress, MongoServer
from tests.waiting import wait_until


def test_a_launchpad_on_real_mongodb_takes_a_workflow(launchpad: LaunchPad) -> None:
    launchpad.add_wf(Firework(ScriptTask.from_str("true")))
    assert launchpad.get_fw_ids({"state": "READY"}) == [1]


def test_two_launchpads_of_one_test_do_not_see_each_other(
    make_launchpad: object, mongodb: MongoAddress
) -> None:
    assert callable(make_launchpad)
    first, second = make_launchpad(), make_launchpad()
    first.add_wf(Firework(ScriptTask.from_str("true")))
    assert second.get_fw_ids() == []
    assert first.port == mongodb.port


def test_mongodb_killed_and_started_again_still_has_its_data() -> None:
    with MongoServer() as server:
        client: pymongo.MongoClient[dict[str, object]] = pymongo.MongoClient(server.address.uri)
        client["test"]["kept"].with_options(write_concern=pymongo.WriteConcern(j=True)).insert_one(
            {"_id": 1}
        )
        server.kill()
        server.start()
        assert client["test"]["kept"].find_one() == {"_id": 1}
        client.close()


def test_a_container_of_the_test_image_runs(docker_engine: str) -> None:
    client = docker.from_env()
    said = client.containers.run(docker_engine, ["sh", "-c", "echo $((6 * 7))"], remove=True)
    client.close()
    assert said == b"42\n"


def test_a_server_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen(["sleep", "60"])
    server = _guarded_sleep(tmp_path, owner.pid)
    owner.kill()
    owner.wait()
    assert server.wait(10.0) == -signal.SIGTERM % 256


def test_a_server_ends_when_its_guard_is_killed(tmp_path: Path) -> None:
    server = _guarded_sleep(tmp_path, os.getpid())
    program = int((tmp_path / "pid").read_text())
    server.kill()
    server.wait()
    wait_until(lambda: not _runs(program), what="the program's end")


def test_a_server_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    server = _guarded_sleep(tmp_path, os.getpid(), ignore="trap '' TERM;", grace=0.2)
    program = int((tmp_path / "pid").read_text())
    assert guard.end(server.pid, timeout=10.0)
    assert not _runs(program)
    server.wait()


@pytest.mark.parametrize(("required", "outcome"), [("", "skipped"), ("1", "failed")])
def test_a_missing_part_skips_or_fails(
    required: str, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTFIRE_REQUIRE_SERVICES", required)
    expected = pytest.skip.Exception if outcome == "skipped" else pytest.fail.Exception
    with pytest.raises(expected, match="no such engine"):
        missing("no such engine")


def test_a_killed_test_run_leaves_no_server_behind(tmp_path: Path) -> None:
    script = tmp_path / "test_inner.py"
    script.write_text(_INNER)
    pytest_run = subprocess.Popen(
        [
            *(sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"),
            *("-c", os.devnull, "--rootdir", str(tmp_path), str(script)),
        ],
        env={**os.environ, "TMPDIR": str(tmp_path), "INNER": str(tmp_path / "pids")},
        stdout=subprocess.DEVNULL,
    )
    written = tmp_path / "pids"
    wait_until(lambda: written.exists() and written.read_text().endswith("\n"), timeout=60.0)
    assert _runs(int(written.read_text()))
    pytest_run.kill()
    pytest_run.wait()
    wait_until(lambda: not _runs(int(written.read_text())), what="the end of the inner mongod")


_INNER = """
import os, pathlib, psutil, signal
from tests.services import session

def test_waits_to_be_killed(mongodb):
    guard = int((session.directory() / "mongodb.guard").read_text())
    program = psutil.Process(guard).children()[0].pid
    pathlib.Path(os.environ["INNER"]).write_text(f"{program}\\n")
    signal.pause()
"""


def _guarded_sleep(
    folder: Path, owner: int, *, ignore: str = "", grace: float = 5.0
) -> subprocess.Popen[bytes]:
    note = folder / "pid"
    shell = f"{ignore} echo $$ >{note}.new; mv {note}.new {note}; while :; do sleep 1; done"
    server = guard.guarded(["sh", "-c", shell], owner=owner, log=folder / "log", grace=grace)
    wait_until(note.exists, what="the guarded program's start")
    return server


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return state != "Z"
