"""Raw jobs: what HyperFlow sends, run without FireWorks, answered with a reply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from executor.capture import Output, parse_outputs
from executor.context import JobContext, current_context
from executor.failures import one_line, phase_error
from executor.files.staging import Report, StagedJob, run_staged
from executor.files.storage import JobStorage, job_storage
from executor.outcome import RawEnded
from executor.program import Program, arguments, checked_env, checked_file, checked_timeout
from messaging.errors import JobError, PortfireError
from messaging.wire import RawJob, Reply
from storage_backends.paths import checked_names


def run_raw_job(job: RawJob, job_id: str, directory: Path) -> RawEnded:
    """Run `job` in a private place inside `directory`, or in the ``workdir`` of local storage.

    Every failure is in the answer and in its reply (``exceptions``); only JobInterrupted is raised.
    The reply has the last 100 lines of each output. Options are HyperFlow's, see
    `storage_backends.places.choice`.
    """
    context, report = current_context(), Report()
    try:
        program, staged = _prepare(job, directory, context)
        run_staged(staged, program.execute, context, report)
    except (PortfireError, OSError) as exc:
        error = phase_error("stage-in", exc)
        reason = one_line(error)
        reply = _reply(job_id, report, context, exceptions=[f"{error.phase}: {reason}"])
        return RawEnded(reply=reply, phase=error.phase, reason=reason, retry=error.retry)
    return RawEnded(reply=_reply(job_id, report, context))


def _prepare(job: RawJob, directory: Path, context: JobContext) -> tuple[Program, StagedJob]:
    outputs = parse_outputs(
        (file.name for file in job.outputs),
        on_failure=(file.name for file in job.outputs if file.on_failure),
    )
    inputs = checked_names((file.name for file in job.inputs), "input")
    program = Program(
        name=job.executable,
        argv=(job.executable, *arguments(job.args)),
        env=checked_env(job.env),
        stdin=checked_file(job.stdin, "stdin"),
        stdout=checked_file(job.stdout, "stdout"),
        stderr=checked_file(job.stderr, "stderr"),
        timeout=checked_timeout(job.timeout, context.default_timeout),
        merged=any(output.capture for output in outputs),
    )
    return program, StagedJob(
        title=f"job: {job.name or job.executable}",
        executable=job.executable,
        inputs=inputs,
        outputs=outputs,
        storage=_storage(job, inputs, outputs, context),
        directory=directory,
        timeout=program.timeout,
    )


def _storage(
    job: RawJob, inputs: tuple[str, ...], outputs: tuple[Output, ...], context: JobContext
) -> JobStorage | None:
    storage = job_storage(
        context,
        options=job.options,
    )
    if storage is None and (inputs or outputs):
        raise JobError("a job with inputs or outputs on local storage needs options.workdir")
    return storage


def _reply(
    job_id: str, report: Report, context: JobContext, exceptions: list[str] | None = None
) -> Reply:
    stdout, stderr = (*report.tails, "", "")[:2]
    # HyperFlow takes 0 for success: a program that succeeded in a job that failed has no status.
    status = None if exceptions and report.exit_code == 0 else report.exit_code
    return Reply(
        job=job_id,
        exit_status=status,
        stdout=stdout,
        stderr=stderr,
        metrics=_metrics(report, context),
        exceptions=exceptions,
    )


def _metrics(report: Report, context: JobContext) -> dict[str, Any]:
    """The keys of hyperflow-amqp-executor, and what the execution used."""
    return {
        "timestamps": report.timestamps,
        "input_size": report.bytes_in,
        "output_size": report.bytes_out,
        **report.seconds,
        **{name: value for name, value in report.metrics.items() if name != "seconds"},
        "executor": context.executor,
        "thread": context.thread,
    }
