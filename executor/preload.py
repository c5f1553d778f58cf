"""Imported once in the fork server, so that every child process has it all from the start.

Only the fork server imports this module: it changes that process.
"""

from __future__ import annotations

import gc
import signal

import executor.child  # noqa: F401 - preloaded
from executor.task_names import learn_firetasks_of_fireworks

# Service managers send SIGTERM to all processes of a service. The fork server goes when its
# executor does (its pipe closes), not before: with it, all running jobs would be killed.
signal.signal(signal.SIGTERM, signal.SIG_IGN)

learn_firetasks_of_fireworks()

# Memory that no garbage collection touches stays shared among all children.
gc.collect()
gc.freeze()
