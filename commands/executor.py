"""`portfire executor`: the daemon that runs jobs."""

from __future__ import annotations

import argparse
import os
from functools import partial
from typing import TYPE_CHECKING, Any

from commands import options
from commands.logs import setup as logs
from commands.parent import add_parent_flag, obey_parent_flag
from commands.signals import on_stop

if TYPE_CHECKING:
    from executor.settings import ExecutorSettings
    from executor.vm.ending import Ending
    from executor.vm.place import Vm


def add(subparsers: Any) -> None:
    """Declare the command."""
    parser = subparsers.add_parser(
        "executor",
        help="run jobs from a pool",
        description="Pull jobs, stage their inputs in, run them, stage outputs out, report. Needs "
        "only environment variables: THREADS, STORAGE, PUBSUB_EMULATOR_HOST or "
        "GOOGLE_CLOUD_PROJECT, PORTFIRE_POOL, PORTFIRE_WORKDIR, PORTFIRE_PREFIX. SIGTERM stops it "
        "in order: running jobs may finish, what remains is given back; a second one at once. On a "
        "VM of Compute Engine it takes settings from the VM's metadata attributes, and deletes the "
        "VM when there is nothing to do, or attribute `quit` is `soon` or `when-idle`.",
    )
    options.add_pubsub(parser)
    parser.add_argument("--threads", type=int, metavar="N", help="slots (env THREADS; cores)")
    parser.add_argument("--storage", help="storage, or its URL (env STORAGE; local)")
    parser.add_argument("--pool", help="pool to take jobs from (env PORTFIRE_POOL; default)")
    parser.add_argument("--workdir", metavar="DIR", help="launch directories (PORTFIRE_WORKDIR)")
    parser.add_argument(
        "--log-tasks",
        action="store_true",
        default=None,
        help="log what containers print (PORTFIRE_LOG_TASKS)",
    )
    parser.add_argument(
        "--development",
        action="store_true",
        default=None,
        help="keep the VM when the executor ends (PORTFIRE_DEVELOPMENT)",
    )
    logs.add_flags(parser)
    options.add_settings_file(parser)
    add_parent_flag(parser)
    parser.set_defaults(run=run, speaks=True)


def run(args: argparse.Namespace) -> int:
    """Run jobs until stopped."""
    from executor.vm.ending import Ending

    obey_parent_flag(args)
    vm = _this_vm(args)
    with logs.daemon_log(args, vm, on_vm=True) as log:
        ending = Ending(vm, vars(args), os.environ)
        with ending.after_errors():
            ended_by_itself = _run(args, vm, ending, log)
        if ended_by_itself:
            log.flush()  # once the VM goes, nothing more does
            ending.delete()
    return 0


def _run(args: argparse.Namespace, vm: Vm | None, ending: Ending, log: logs.DaemonLog) -> bool:
    """Whether the executor ended for having nothing more to do."""
    from executor.daemon import Executor
    from executor.settings import ExecutorSettings
    from executor.vm.life import Life

    log.check()
    settings = options.settings(
        ExecutorSettings,
        args,
        attributes=vm.attributes if vm else None,
        defaults=vm.defaults() if vm else None,
    )
    settings = vm.complete(settings) if vm else settings
    ending.obey(settings)
    _identify(log, settings)
    executor = Executor(settings)
    life = Life(executor, vm)
    insist = partial(executor.request_stop, "got a second signal", now=True)
    with on_stop(life.signalled, insist), life:
        executor.run()
    return life.ended_by_itself


def _this_vm(args: argparse.Namespace) -> Vm | None:
    """The VM that is this executor's own: none off Compute Engine, nor as a part of `run`."""
    from executor.settings import ExecutorSettings
    from executor.vm.metadata import this_metadata_host
    from executor.vm.place import describe_vm, warn_of_misspellings

    host = None if args.stop_with_parent else this_metadata_host()
    if host is None:
        return None
    vm = describe_vm(host)
    warn_of_misspellings(vm.attributes, ExecutorSettings.model_fields)
    return vm


def _identify(log: logs.DaemonLog, settings: ExecutorSettings) -> None:
    from executor.nursery import Nursery

    if log.is_cloud:
        # The fork server must not inherit anything of gRPC's, which the log is about to use.
        Nursery().start()
    log.identify(executor=settings.executor_id, pool=settings.pool)
    if settings.log_tasks or ("log_tasks" not in settings.model_fields_set and log.wants_tasks):
        log.show_tasks()
