"""CommandTask: a Firetask that runs a program, with its files staged in and out."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from fireworks import FiretaskBase, FWAction, explicit_serialize

from executor.capture import Output, parse_outputs
from executor.context import JobContext, current_context
from executor.failures import phase_error
from executor.files.staging import Report, StagedJob, run_staged
from executor.files.storage import JobStorage, job_storage
from executor.program import Program, checked_env, checked_file, checked_timeout, command_line
from executor.task_parameters import listed, mapping, refuse_unknown
from messaging.errors import JobError, PortfireError
from storage_backends.paths import checked_names


@explicit_serialize
class CommandTask(FiretaskBase):
    """Run a program and wait for it; FIZZLED with the reason if it fails.

    Parameters:

    - ``command``: a program and its arguments (a list), or a line for the shell (a text).
    - ``env``: variables over the executor's environment.
    - ``stdin``, ``stdout``, ``stderr``: files in the working directory. To have the last two
      stored, name them in ``outputs`` too. They may be the same file.
    - ``timeout``: seconds, by default an hour.
    - ``inputs``, ``outputs``: paths relative to the working directory and to the job's place in
      the storage; one that ends in ``/`` is a tree. An output ``>file`` is what the program
      prints; ``>>file`` is the same as a log, its name stamped with the time, stored also if the
      program fails.
    - ``outputs_on_failure``: outputs that are stored also if the program fails, as far as they are
      there; those not among ``outputs`` only then.
    - ``storage``, ``options``, ``workdir`` (short for ``options: {workdir: ...}``),
      ``storage_prefix``: where the files are; by default where the executor's settings say.
    - ``name``: for logs.

    Without inputs, outputs and a place it runs in the launch directory, like FireWorks'
    ScriptTask. Otherwise it runs in a private directory, or with ``local`` storage in the
    ``workdir`` itself. What the program leaves running is ended with it. Raises PhaseError.
    """

    required_params = ["command"]
    optional_params = [
        "name",
        "env",
        "stdin",
        "stdout",
        "stderr",
        "timeout",
        "inputs",
        "outputs",
        "outputs_on_failure",
        "storage",
        "options",
        "storage_prefix",
        "workdir",
    ]

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:  # noqa: ARG002 - FireWorks' signature
        """Run it; stored_data has ``exit_code``, ``metrics`` and ``bytes``."""
        context, report = current_context(), Report()
        try:
            refuse_unknown(self)
            outputs = parse_outputs(listed(self, "outputs"), listed(self, "outputs_on_failure"))
            program = self._program(context, merged=any(output.capture for output in outputs))
            job = self._staged_job(program, outputs, context)
        except PortfireError as exc:
            raise phase_error("stage-in", exc) from exc
        run_staged(job, program.execute, context, report)
        return FWAction(stored_data=report.stored_data())

    def _program(self, context: JobContext, *, merged: bool) -> Program:
        if merged and (self.get("stdout") or self.get("stderr")):
            raise JobError("outputs with > take what is printed: leave out stdout and stderr")
        name, argv = command_line(self["command"])
        files = {what: checked_file(self.get(what), what) for what in ("stdin", "stdout", "stderr")}
        return Program(
            name=name,
            argv=argv,
            env=checked_env(self.get("env") or {}),
            timeout=checked_timeout(self.get("timeout"), context.default_timeout),
            merged=merged,
            **files,
        )

    def _staged_job(
        self, program: Program, outputs: tuple[Output, ...], context: JobContext
    ) -> StagedJob:
        inputs = checked_names(listed(self, "inputs"), "input")
        return StagedJob(
            title=f"CommandTask: {self.get('name') or program.name}",
            executable=program.name,
            inputs=inputs,
            outputs=outputs,
            storage=self._storage(context, has_files=bool(inputs or outputs)),
            directory=Path.cwd(),
            timeout=program.timeout,
            facts=(f"command: {shlex.join(program.argv)}",),
        )

    def _storage(self, context: JobContext, *, has_files: bool) -> JobStorage | None:
        options = mapping(self, "options")
        if self.get("workdir") is not None:
            options["workdir"] = self["workdir"]
        storage, prefix = self.get("storage"), self.get("storage_prefix")
        if not (has_files or options or storage or prefix):
            return None
        return job_storage(
            context,
            storage=storage,
            options=options,
            prefix=prefix,
            launch_directory=Path.cwd(),
        )
