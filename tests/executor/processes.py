"""Executors in processes of their own, and what is left of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from messaging.wire import LaunchJob, decode_job
from tests.executor.installation import Installation


def executor_process(installation: Installation, **settings: Any) -> subprocess.Popen[bytes]:
    """An executor in a process of its own, as the command runs it."""
    script = """
import json, sys
from executor.daemon import Executor
from executor.settings import ExecutorSettings
from commands.signals import on_stop
executor = Executor(ExecutorSettings(**json.loads(sys.argv[1])))
with on_stop(executor.request_stop, lambda: executor.request_stop(now=True)):
    executor.run()
"""
    values = installation.settings(**settings).model_dump_json()
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", script, values], env=environ)


def launch_id(data: bytes) -> int:
    job = decode_job(data)
    assert isinstance(job, LaunchJob)
    return job.launch_id


def runs(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
