"""Containers that write much: more than the disk holds, and more than memory should."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from executor.containers.finding import EXECUTOR_LABEL, remove_containers
from executor.docker_task import DockerTask
from executor.failures import PhaseOutageError
from tests.services import missing
from tests.tasks.conftest import RecordingContext

_MB = 1_000_000
_MUCH = 200 * _MB

_RUN = """
import json, resource, sys
from executor.context import StandaloneContext, use_context
from executor.docker_task import DockerTask
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
store, image, size = sys.argv[1:]
def run(size):
    line = f"yes $(printf %0999d 7) | head -c {size}; yes 'more of it' | head -c {size} > /data/out"
    DockerTask(
        name="t", image=image, command=["sh", "-c", line], internal_prefix="/data",
        storage_prefix=str(size), outputs=[">printed", "out"],
    ).run_task({})
context = StandaloneContext(
    job="job-1", executor="executor-1", thread=0, storage="nfs", storage_options={"workdir": store}
)
with use_context(context):
    run(1000)
    before = peak()
    run(int(size))
print(json.dumps(peak() - before))
"""


@pytest.fixture
def small_disk(launch_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The launch directory, on a disk of 8 MB."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={8 * _MB}", "tmpfs", str(launch_directory)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        missing("no small disk: only root can mount a tmpfs, and not everywhere")
    monkeypatch.chdir(launch_directory)
    yield launch_directory
    os.chdir("/")
    subprocess.run(["umount", str(launch_directory)], check=True)


@pytest.fixture
def executor(docker_engine: str, context: RecordingContext) -> Iterator[str]:  # noqa: ARG001 - started first
    """The name of the context's executor, of which nothing is left at the end."""
    context.executor = f"executor-{os.getpid()}-{id(context)}"
    yield context.executor
    remove_containers(executor=context.executor)


def containers_of(executor: str) -> list[Any]:
    client = docker.DockerClient(timeout=30)
    wanted: Any = {"label": f"{EXECUTOR_LABEL}={executor}"}
    try:
        return list(client.containers.list(all=True, filters=wanted))
    finally:
        client.close()


@pytest.mark.parametrize(
    ("line", "output"),
    [
        ("exec dd if=/dev/zero of=/data/out bs=1000000 count=20", "/data/out"),
        ("yes $(printf %01000d 0) | head -c 20000000", ">/data/out"),
    ],
    ids=["written", "printed"],
)
def test_a_full_disk_is_said_in_one_line_and_nothing_is_left(
    docker_engine: str,
    executor: str,
    store: Path,
    small_disk: Path,
    line: str,
    output: str,
) -> None:
    task = DockerTask(
        name="t",
        image=docker_engine,
        command=["sh", "-c", line],
        internal_prefix="/data",
        storage_prefix="run",
        outputs=[output],
    )
    with pytest.raises(PhaseOutageError) as caught:
        task.run_task({})
    assert "\n" not in str(caught.value)
    # It may fit on another executor.
    assert "No space left on device" in caught.value.reason
    assert list(small_disk.iterdir()) == []
    assert list(store.rglob("out")) == []
    assert containers_of(executor) == []


@pytest.mark.timeout(180)
def test_much_output_takes_no_memory(docker_engine: str, store: Path, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _RUN, str(store), docker_engine, str(_MUCH)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=170,
        cwd=tmp_path,
    )
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) < 30 * _MB
    for name, line in (("printed", b"0" * 998 + b"7\n"), ("out", b"more of it\n")):
        file = store / str(_MUCH) / name
        assert file.stat().st_size == _MUCH
        _check_lines(file, line)


def _check_lines(file: Path, line: bytes) -> None:
    """That a file is nothing but this line, the last one cut off."""
    block = line * 1_000
    with file.open("rb") as stream:
        while part := stream.read(len(block)):
            assert part == block[: len(part)]
