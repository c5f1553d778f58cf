"""A container that runs out of memory runs again with more, as its task says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fireworks import Firework, LaunchPad

from executor.docker_task import DockerTask
from tests.faults.ledger import check_consistent, launches_of, wait_for_state
from tests.faults.site import Site

MIB = 1 << 20
#: Writes down how much it may have, then holds 100 MB.
HUNGRY = (
    "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes > /data/limit "
    "2> /dev/null; exec dd if=/dev/zero of=/dev/null bs=100000000 count=1"
)


@pytest.fixture
def site(launchpad: LaunchPad, tmp_path: Path) -> Iterator[Site]:
    """An installation with a dispatcher, watched, and no executor yet."""
    with Site(tmp_path, launchpad) as site:
        site.start_broker()
        site.start_dispatcher()
        site.watch()
        yield site


def hungry(image: str, sizes: list[str]) -> Firework:
    """A Firework that needs 100 MB."""
    parameters: dict[str, Any] = {"memory": "32m", "retry_memory": sizes}
    task = DockerTask(
        name="hungry",
        image=image,
        command=["sh", "-c", HUNGRY],
        internal_prefix="/data",
        storage_prefix="run",
        outputs=["/data/limit"],
        **parameters,
    )
    return Firework(task, name="hungry")


@pytest.mark.parametrize(
    ("sizes", "state", "tried"),
    [(["48m", "512m"], "COMPLETED", [48, 512]), (["40m"], "FIZZLED", [40])],
)
def test_out_of_memory_runs_again_with_the_next_size_until_the_last(
    site: Site,
    launchpad: LaunchPad,
    docker_engine: str,
    tmp_path: Path,
    sizes: list[str],
    state: str,
    tried: list[int],
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    launchpad.add_wf(hungry(docker_engine, sizes))
    site.start_executor(threads=2, storage="nfs", storage_options={"workdir": str(store)})
    wait_for_state(launchpad, "hungry", state)
    site.event("job.finished")
    reasons = [event.reason for event in site.seen("job.released")]  # type: ignore[attr-defined]
    assert [reason.partition(": runs again with ")[2] for reason in reasons] == [
        f"{size * MIB:,} bytes" for size in tried
    ]
    assert all("out of memory" in reason for reason in reasons)
    [launch] = launches_of(launchpad, "hungry")
    assert launch["state"] == state
    stored = launch["action"]["stored_data"]
    if state == "COMPLETED":
        assert (store / "run/limit").read_text().split()[-1] == str(512 * MIB)
    else:
        details = stored["_exception"]["_details"]
        assert (details["cause"], details["retry"]) == ("out-of-memory", False)
    check_consistent(launchpad)
