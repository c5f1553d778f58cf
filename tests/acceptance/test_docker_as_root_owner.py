"""DockerTask for an executor that is not root: what containers wrote as root is its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from executor.containers.finding import SOCKET
from tests.services import missing

#: Somebody who is not root, and has no name.
_USER = 54321

_RUN = """
import json, os, sys
from executor.context import StandaloneContext, use_context
from executor.docker_task import DockerTask
from executor.failures import PhaseError
from executor.policy import Policy
store, task = sys.argv[1], json.loads(sys.argv[2])
context = StandaloneContext(
    job="job-1", executor=task.pop("executor"), thread=0, storage="nfs",
    storage_options={"workdir": store},
    policy=Policy(allowed_capabilities=("DAC_OVERRIDE", "FOWNER")),
)
with use_context(context):
    try:
        DockerTask(**task).run_task({})
    except PhaseError as exc:
        print(exc)
print("left" if os.listdir(".") else "nothing left")
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory of somebody who is not root, with a store and a launch directory."""
    if os.geteuid() != 0:
        missing("only root can become somebody else: run the tests as root")
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory)
        top.chmod(0o755)
        for place in (top / "home", top / "home/store", top / "home/launch"):
            place.mkdir()
            os.chown(place, _USER, _USER)
        yield top / "home"


def run(home: Path, image: str, line: str, **parameters: Any) -> subprocess.CompletedProcess[str]:
    """Run a DockerTask as one who may use the engine and nothing else."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        missing("no setpriv here: install util-linux")
    group = Path(SOCKET.removeprefix("unix://")).stat().st_gid
    become = [setpriv, "--reuid", str(_USER), "--regid", str(_USER), "--groups", str(group)]
    task = {
        "executor": f"executor-{home.parent.name}",
        "name": "t",
        "image": image,
        "command": ["sh", "-c", line],
        "internal_prefix": "/data",
        "storage_prefix": "run",
        "working_dir": "/data",
        "user": "0:0",
        "capabilities": ["DAC_OVERRIDE", "FOWNER"],
        **parameters,
    }
    program = [sys.executable, "-c", _RUN, str(home / "store"), json.dumps(task)]
    return subprocess.run(
        [*become, *program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=100,
        cwd=home / "launch",
    )


def test_what_root_wrote_and_closed_to_others_is_stored(home: Path, docker_engine: str) -> None:
    line = (
        "umask 077; id -u > out; mkdir -p tree/deep; echo deep > tree/deep/file; "
        "echo other > tree/other"
    )
    ended = run(home, docker_engine, line, outputs=["out", "tree/"])
    assert (ended.stdout, ended.stderr) == ("nothing left\n", "")
    stored = home / "store/run"
    assert (stored / "out").read_text() == "0\n"
    assert (stored / "tree/deep/file").read_text() == "deep\n"
    assert (stored / "tree/other").read_text() == "other\n"
    assert {path.lstat().st_uid for path in stored.rglob("*")} == {_USER}


def test_after_a_failure_nothing_of_root_is_left(home: Path, docker_engine: str) -> None:
    line = "umask 077; mkdir -p tree/deep; echo deep > tree/deep/file; exit 3"
    ended = run(home, docker_engine, line, outputs=["tree/"])
    assert "failed with exit code 3" in ended.stdout
    assert ended.stdout.endswith("\nnothing left\n")
    assert ended.stdout.count("\n") == 2
    assert ended.stderr == ""
    assert not (home / "store/run").exists()


def test_an_unreadable_output_of_ones_own_is_stored_or_named(
    home: Path, docker_engine: str
) -> None:
    line = "echo text > out; chmod 000 out"
    ended = run(home, docker_engine, line, outputs=["out"], user=f"{_USER}:{_USER}")
    assert ended.stderr == ""
    assert ended.stdout.endswith("nothing left\n")
    stored = home / "store/run/out"
    if not stored.exists():
        assert "run/out" in ended.stdout
        assert ended.stdout.count("\n") == 2
