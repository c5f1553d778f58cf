"""What is no job at all, and what says far too much: told, bounded, and the next job runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil
import pytest
from fireworks import Firework

from executor.command_task import CommandTask
from tests.acceptance.installation import Installation, check_line, shell
from tests.faults.ledger import launches_of
from tests.faults.site import Daemon
from tests.waiting import wait_until

_PRINTED = 200_000_000
_MEMORY_GROWTH = 100_000_000


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xff no JSON", "job is not JSON"),
        (b'{"version": "2.0", "executable": "true"}', "version '2.0'; this Portfire reads 1.x"),
        (b'{"args": ["x"]}', "executable is missing"),
        (b'{"kind": "surprise"}', "unknown kind 'surprise'"),
    ],
    ids=["not JSON", "unknown version", "no executable", "unknown kind"],
)
def test_what_is_no_job_is_rejected_and_answered(
    installation: Installation, data: bytes, says: str
) -> None:
    reply = installation.publish(data)
    [reason] = reply.exceptions or []
    check_line(reason, (says,))
    rejected = wait_until(
        lambda: [e for e in installation.site.seen("job.rejected") if e.job == reply.job],
        what="job.rejected",
    )
    assert [getattr(event, "reason", None) for event in rejected] == [reason]
    installation.run_next()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "bad.json, line 1, column 2: not JSON"),
        ('[{"executable": "true"},\n{"args": []}]', "bad.json, line 2: raw job is not valid"),
        ('{"version": "2.0", "executable": "true"}', "version '2.0'"),
    ],
    ids=["not JSON", "no executable", "unknown version"],
)
def test_submit_refuses_what_is_no_job_and_names_its_place(
    installation: Installation, text: str, says: str
) -> None:
    (installation.site.directory / "bad.json").write_text(text)
    ended = installation.portfire("submit", "--wait", "bad.json")
    assert (ended.code, ended.output) == (2, "")
    assert says in ended.error_line


@pytest.mark.alone
@pytest.mark.parametrize("kind", ["firework", "raw"])
def test_what_prints_without_end_costs_no_memory(installation: Installation, kind: str) -> None:
    line = f"head -c {_PRINTED} /dev/zero | tr '\\0' x; echo the end; exit 4"
    installation.run_next()
    before = _peaks(installation.executor)
    if kind == "raw":
        code, reply = installation.submit(shell(line))
        [reason], shown = reply.exceptions or [], reply.stdout
        assert (code, reply.exit_status) == (1, 4)
    else:
        installation.launchpad.add_wf(
            Firework(CommandTask(command=["sh", "-c", line]), name="talker")
        )
        reason, stored = installation.fizzled("talker")
        shown = stored["_exception"]["_details"]["output"]
        # Nobody needs it any more, and it would stay for the next three test runs.
        shutil.rmtree(launches_of(installation.launchpad, "talker")[0]["launch_dir"])
    check_line(reason, ("exit code 4",))
    assert shown.rstrip().endswith("the end")
    assert len(shown) < 100_000
    after = _peaks(installation.executor)
    grown = {pid: peak - before.get(pid, 0) for pid, peak in after.items()}
    assert max(grown.values()) < _MEMORY_GROWTH, grown
    installation.run_next()


def _peaks(executor: Daemon) -> dict[int, int]:
    """The most memory that each process of the executor has had so far, bytes."""
    process = psutil.Process(executor.process.pid)
    peaks = {}
    for each in (process, *process.children(recursive=True)):
        status = Path(f"/proc/{each.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        peaks[each.pid] = int(line.split()[1]) * 1024
    return peaks
