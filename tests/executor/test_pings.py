"""A long launch is pinged as FireWorks would, though no thread of its own does it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.executor.conversation import Conversation
from tests.executor.workflows import launch, py_task, thread_names

#: Runs a Rocket, and prints what its LaunchPad heard.
_SCRIPT = """
import json, threading
from fireworks import Firework, FWorker, PyTask
from fireworks.core.rocket import Rocket
from executor.pings import ping_without_threads

class Heard:
    def __init__(self):
        self.pings, self.ended, self.late = 0, False, 0
    def get_logdir(self):
        return None
    def log_message(self, level, message):
        pass
    def checkout_fw(self, *args, **kwargs):
        return Firework(PyTask(func="time.sleep", args=[5.0]), fw_id=1), 1
    def ping_launch(self, launch_id, ptime=None, checkpoint=None):
        self.late += self.ended
        self.pings += threading.current_thread().name == "watcher"
    def complete_launch(self, launch_id, action=None, state="COMPLETED"):
        self.ended, self.state = True, state

ping_without_threads()
heard = Heard()
Rocket(heard, FWorker(), 1).run()
print(json.dumps({"pings": heard.pings, "late": heard.late, "state": heard.state}))
"""


@pytest.mark.timeout(60)
def test_a_long_launch_is_pinged_until_its_end(tmp_path: Path) -> None:
    config = tmp_path / "FW_config.yaml"
    config.write_text("PING_TIME_SECS: 1\n")
    environment = {**os.environ, "FW_CONFIG_FILE": str(config)}
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    ran = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    heard = json.loads(ran.stdout.splitlines()[-1])
    assert heard["pings"] >= 2
    assert (heard["late"], heard["state"]) == (0, "COMPLETED")


def test_no_launch_has_a_thread_of_its_own(talk: Conversation) -> None:
    names = py_task(thread_names, stored_data_varname="threads")
    ended = talk.run(launch(1, names))
    assert not [name for name in ended.action["stored_data"]["threads"] if "ping" in name]
