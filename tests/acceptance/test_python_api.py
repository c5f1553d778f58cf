"""Portfire from Python, in scripts as its users write them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from fireworks import LaunchPad

from tests.acceptance import tasks
from tests.acceptance.daemons import Daemons
from tests.faults.ledger import check_completed_once, wait_for_all, wait_for_state
from tests.faults.site import environment
from tests.waiting import wait_until

_RUN = """
import json, sys
import portfire

launchpad, storage, workdir = sys.argv[1:]
result, records = portfire.run_launchpad(
    launchpad,
    storage="nfs",
    storage_options={"workdir": storage},
    threads=2,
    workdir=workdir,
)
print(json.dumps({
    "completed": result.counts.completed,
    "fizzled": result.counts.fizzled,
    "seconds": result.seconds,
    "jobs": [[record.name, record.state, record.reason] for record in records],
}))
"""

_RUN_OBJECT = """
import json, sys
from fireworks import Firework, LaunchPad, ScriptTask
import portfire

launchpad = LaunchPad.from_file(sys.argv[1])
launchpad.add_wf(Firework(ScriptTask.from_str("true"), name="from Python"))
result, records = portfire.run_launchpad(launchpad, threads=1, workdir=sys.argv[2])
print(json.dumps([result.counts.completed, [record.name for record in records]]))
"""

_WRONG = """
import sys
import portfire

for wrong in ({"threads": 0}, {"thread": 2}):
    try:
        portfire.run_launchpad(sys.argv[1], **wrong)
    except portfire.UsageError as error:
        print(error)
"""

_WATCH = """
import sys
import portfire

settings = portfire.PubSubSettings(emulator_host=sys.argv[1])
with portfire.subscribe(settings, filter='hasPrefix(attributes.type, "job.")') as events:
    print("subscribed", flush=True)
    for event in events:
        print(event.type, event.job, event.name, flush=True)
        if event.type == "job.finished" and event.name == sys.argv[2]:
            break
"""

_EXECUTE = """
import sys, threading
import portfire

def main():
    settings = portfire.ExecutorSettings(
        emulator_host=sys.argv[1], threads=1, workdir=sys.argv[2], executor_id="scripted"
    )
    executor = portfire.Executor(settings)
    if sys.argv[3] == "run":
        running = threading.Thread(target=executor.run)
        running.start()
    else:
        executor.start()
    print("started", executor.id, flush=True)
    sys.stdin.readline()
    executor.stop()
    if sys.argv[3] == "run":
        running.join(30)
        print("running" if running.is_alive() else "joined")
    print("stopped", executor.running_jobs, threading.active_count())

if __name__ == "__main__":
    main()
"""


def test_run_launchpad_runs_a_launchpad_file_with_the_settings_given(
    launchpad: LaunchPad, tmp_path: Path, storage: Path
) -> None:
    launchpad.add_wf(tasks.letters(None, ["z", "y", "x", "z"]))
    launchpad.add_wf(tasks.script("wrong", "exit 7"))
    arguments = (_file(launchpad, tmp_path), str(storage), str(tmp_path / "work"))
    said = json.loads(_run(tmp_path, _RUN, *arguments))
    assert (said["completed"], said["fizzled"]) == (3, 1)
    assert 0 < said["seconds"] < 60
    jobs = {name: state for name, state, _ in said["jobs"]}
    done = "COMPLETED"
    assert jobs == {"write": done, "order": done, "count": done, "wrong": "FIZZLED"}
    [reason] = [reason for name, _, reason in said["jobs"] if name == "wrong"]
    assert "7" in reason
    assert (storage / "result.txt").read_text().strip() == "3"
    assert list((tmp_path / "work").glob("fw*"))


def test_run_launchpad_takes_a_launchpad_object(launchpad: LaunchPad, tmp_path: Path) -> None:
    arguments = (_file(launchpad, tmp_path), str(tmp_path / "work"))
    assert json.loads(_run(tmp_path, _RUN_OBJECT, *arguments)) == [1, ["from Python"]]
    check_completed_once(launchpad)


def test_run_launchpad_raises_usage_errors_of_one_line(
    launchpad: LaunchPad, tmp_path: Path
) -> None:
    said = _run(tmp_path, _WRONG, _file(launchpad, tmp_path)).splitlines()
    assert len(said) == 2
    assert "threads is 0" in said[0]
    assert "thread is no setting" in said[1]


def test_a_script_sees_the_events_of_a_run_that_goes_on(
    daemons: Daemons, launchpad: LaunchPad
) -> None:
    daemons.start_dispatcher(launchpad)
    daemons.start_executor(threads=1)
    script = _start(daemons.directory, _WATCH, daemons.address, "second")
    assert script.stdout is not None
    assert script.stdout.readline() == "subscribed\n"
    for name in ("first", "second"):
        launchpad.add_wf(tasks.script(name))
        wait_for_state(launchpad, name, "COMPLETED")
    seen = [line.split(" ") for line in _ended(script).splitlines()]
    for name in ("first", "second"):
        types = {event_type for event_type, _, of in seen if of == name}
        assert types == {
            "job.started",
            "job.execution.started",
            "job.execution.finished",
            "job.finished",
        }
    assert len({job for _, job, _ in seen}) == 2


def test_an_executor_of_a_script_runs_jobs_until_it_is_stopped(
    daemons: Daemons, launchpad: LaunchPad
) -> None:
    daemons.start_dispatcher(launchpad)
    daemons.start_events()
    for way in ("start", "run"):
        launchpad.add_wf(tasks.script(f"job of {way}"))
        work = str(daemons.directory / "work")
        script = _start(daemons.directory, _EXECUTE, daemons.address, work, way)
        assert script.stdout is not None
        assert script.stdout.readline() == "started scripted\n"
        wait_for_all(launchpad)
        said = _ended(script, "\n").splitlines()
        assert said[:-1] == (["joined"] if way == "run" else [])
        assert said[-1].startswith("stopped 0 ")
        assert daemons.event(type="job.finished", name=f"job of {way}")["executor"] == "scripted"
    wait_until(lambda: len(daemons.events(type="executor.stopped")) == 2, what="both stops")
    check_completed_once(launchpad)


def _file(launchpad: LaunchPad, directory: Path) -> str:
    launchpad.to_file(str(directory / "lp.yaml"))
    return str(directory / "lp.yaml")


def _run(directory: Path, script: str, *arguments: str) -> str:
    """Run a script to its end; what it printed."""
    return _ended(_start(directory, script, *arguments))


def _start(directory: Path, script: str, *arguments: str) -> subprocess.Popen[str]:
    file = directory / "script.py"
    file.write_text(script)
    return subprocess.Popen(
        [sys.executable, str(file), *arguments],
        cwd=directory,
        env=environment(directory),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _ended(process: subprocess.Popen[Any], line: str | None = None) -> str:
    """Wait for the script's end, after it has got `line`; what it printed."""
    try:
        output, errors = process.communicate(line, timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    return str(output)
