"""Files that containers wrote as root, for an executor that is not root."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from executor.containers.finding import SOCKET
from executor.containers.ownership import take_over
from tests.services import missing

#: Somebody who is not root, and has no name.
_USER = 54321

_WRITE = """
import sys
from pathlib import Path
from executor.containers.run import run_container
from executor.containers.spec import BindMount, ContainerSpec
from executor.containers.engine import connected
from executor.containers.ownership import take_over
from executor.files.workspace import open_workspace
directory, image, what = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
with open_workspace(directory, None) as workspace:
    line = (
        "umask 077; mkdir -p /data/tree/deep; echo text > /data/tree/deep/file; "
        "ln -s /etc/hostname /data/link; "
    ) + (sys.argv[4] if what == "take over" and len(sys.argv) > 4 else "true")
    spec = ContainerSpec(
        image=image, command=["sh", "-c", line], labels={}, user="0:0", timeout=60.0,
        capabilities=("DAC_OVERRIDE", "FOWNER"),
        stop_grace=0.0, mounts=(BindMount(source=workspace.files, target="/data"),),
    )
    with connected() as client:
        assert run_container(client, spec, workspace.stdout).exit_code == 0
    assert (workspace.files / "tree").stat().st_uid == 0
    if what == "take over":
        take_over(workspace.files, image)
        print((workspace.files / "tree/deep/file").read_text(), end="")
        print((workspace.files / "link").lstat().st_uid)
    elif what == "remove":
        workspace.image = image
    elif what == "remove without rm":
        workspace.image = sys.argv[4]
print("left" if list(directory.iterdir()) else "nothing left")
"""

#: With an image that nobody has: what is this user's own needs no container.
_CLOSE = """
import os, sys
from pathlib import Path
from executor.containers.ownership import take_over
top = Path(sys.argv[1])
closed, file, deep = top / "closed", top / "closed/file", top / "closed/deep"
kept = top / "kept"
closed.mkdir()
for path in (file, deep, kept):
    path.write_text("text")
(top / "link").symlink_to("/etc")
kept.chmod(0o444)
for path in (file, deep, closed):
    path.chmod(0)
take_over(top, "no such image")
print(*(f"{path.stat().st_mode & 0o777:o}" for path in (closed, file, deep, kept, Path("/etc"))))
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of somebody who is not root."""
    if os.geteuid() != 0:
        missing("only root can become somebody else: run the tests as root")
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        place.chmod(0o755)
        (place / "theirs").mkdir()
        os.chown(place / "theirs", _USER, _USER)
        yield place / "theirs"


def as_somebody(
    place: Path, *arguments: str, script: str = _WRITE
) -> subprocess.CompletedProcess[str]:
    """Run a script from above as one who may use the engine."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        missing("no setpriv here: install util-linux")
    group = Path(SOCKET.removeprefix("unix://")).stat().st_gid
    become = [setpriv, "--reuid", str(_USER), "--regid", str(_USER), "--groups", str(group)]
    return subprocess.run(
        [*become, sys.executable, "-c", script, str(place), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(place)},
        capture_output=True,
        text=True,
        timeout=100,
        cwd="/",
    )


@pytest.fixture
def image_id(docker_engine: str) -> str:
    """The id of the test image."""
    client = docker.DockerClient(timeout=30)
    try:
        return str(client.images.get(docker_engine).id)
    finally:
        client.close()


@pytest.fixture
def without_rm(docker_engine: str) -> Iterator[str]:
    """The id of an image that has no programs at all."""
    client = docker.DockerClient(timeout=30)
    made = client.containers.create(docker_engine, ["true"])
    empty = bytes(10240)
    answer = client.api.import_image_from_data(empty, "portfire-test-empty", "1")
    assert answer
    yield str(client.images.get("portfire-test-empty:1").id)
    made.remove()
    client.images.remove("portfire-test-empty:1", force=True)
    client.close()


def test_what_root_wrote_is_taken_over(place: Path, image_id: str) -> None:
    ended = as_somebody(place, image_id, "take over")
    assert ended.stdout == f"text\n{_USER}\nnothing left\n", ended.stderr
    assert ended.stderr == ""


def test_what_was_closed_is_opened_and_nothing_else_is_changed(place: Path) -> None:
    ended = as_somebody(place, script=_CLOSE)
    assert ended.stdout == "700 600 600 444 755\n", ended.stderr
    assert ended.stderr == ""


def test_what_root_closed_is_opened(place: Path, image_id: str) -> None:
    ended = as_somebody(place, image_id, "take over", "chmod -R 000 /data/tree; ")
    assert ended.stdout == f"text\n{_USER}\nnothing left\n", ended.stderr
    assert ended.stderr == ""


def test_what_root_wrote_is_removed(place: Path, image_id: str) -> None:
    ended = as_somebody(place, image_id, "remove")
    assert ended.stdout == "nothing left\n", ended.stderr
    assert ended.stderr == ""


@pytest.mark.parametrize("what", ["remove without rm", "know no image"])
def test_a_directory_that_cannot_be_removed_is_named(
    place: Path, image_id: str, without_rm: str, what: str
) -> None:
    ended = as_somebody(place, image_id, what, without_rm)
    assert ended.stdout == "left\n", ended.stderr
    assert ended.stderr.count("\n") == 1
    assert f"could not remove the job's directory {place}/" in ended.stderr


def test_for_root_nothing_is_done(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        missing("for root only")
    file = tmp_path / "file"
    file.touch()
    os.chown(file, _USER, _USER)
    take_over(tmp_path, "no such image")
    assert stat.S_ISREG(file.stat().st_mode)
    assert file.stat().st_uid == _USER
