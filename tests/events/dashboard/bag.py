"""Events of a made-up bag of jobs, as executors would publish them."""

from __future__ import annotations

from collections.abc import Iterator

from events.types import Event, make_event

GB = 10**9


def executor_events(
    executors: int, threads: int, at: float, pool: str = "default"
) -> Iterator[Event]:
    """Each executor gets ready and sends a heartbeat."""
    for number in range(executors):
        common = {
            "executor": executor_id(number),
            "timestamp": at,
            "pool": pool,
            "threads": threads,
        }
        yield make_event({"type": "executor.ready", "host": f"vm-{number}", **common})
        yield make_event(
            {
                "type": "executor.heartbeat",
                "busy": threads,
                "memory": GB // 10,
                "disk": 50 * GB,
                "load": 1.5,
                **common,
            }
        )


def executor_id(number: int) -> str:
    """The id of the executor of this number."""
    return f"executor-{number:03d}-0c6ba8b4"


def job_events(
    number: int, *, executor: int = 0, thread: int = 1, at: float, seconds: float = 1.0
) -> list[Event]:
    """A job that went well, from its start `at` to its end `seconds` later."""
    return [
        *job_start(number, executor=executor, thread=thread, at=at, seconds=seconds),
        _event(
            "job.stage-out.finished",
            number,
            executor,
            thread,
            7,
            at + seconds,
            time=seconds * 0.2,
            bytes=1_000_000,
        ),
        _event("job.finished", number, executor, thread, 8, at + seconds, state="COMPLETED"),
    ]


def job_start(
    number: int, *, executor: int = 0, thread: int = 1, at: float, seconds: float = 1.0
) -> list[Event]:
    """The same job up to the beginning of its stage-out."""
    staged, executed = at + 0.2 * seconds, at + 0.8 * seconds
    return [
        _event("job.started", number, executor, thread, 1, at, queued=0.1),
        _event("job.stage-in.started", number, executor, thread, 2, at),
        _event(
            "job.stage-in.finished",
            number,
            executor,
            thread,
            3,
            staged,
            time=0.2 * seconds,
            bytes=2_000_000,
        ),
        _event("job.execution.started", number, executor, thread, 4, staged),
        _event(
            "job.execution.finished",
            number,
            executor,
            thread,
            5,
            executed,
            time=0.6 * seconds,
            exit_code=0,
        ),
        _event("job.stage-out.started", number, executor, thread, 6, executed),
    ]


def failed_job(
    number: int, *, executor: int = 0, thread: int = 1, at: float, reason: str = "exit code 3"
) -> list[Event]:
    """A job whose execution failed after a second."""
    return [
        _event("job.started", number, executor, thread, 1, at, queued=0.1),
        _event("job.execution.started", number, executor, thread, 2, at),
        _event(
            "job.execution.finished",
            number,
            executor,
            thread,
            3,
            at + 1,
            time=1.0,
            exit_code=3,
            error=reason,
        ),
        _event(
            "job.finished",
            number,
            executor,
            thread,
            4,
            at + 1,
            state="FIZZLED",
            phase="execution",
            reason=reason,
        ),
    ]


def bag(jobs: int, *, executors: int = 20, threads: int = 10, end: float) -> Iterator[Event]:
    """`jobs` ended jobs of 2 s on so many executors with as many slots, the last at `end`."""
    slots = executors * threads
    rounds = -(-jobs // slots)
    start = end - rounds * 2.0
    yield from executor_events(executors, threads, start)
    for number in range(jobs):
        turn, slot = divmod(number, slots)
        executor, thread = divmod(slot, threads)
        at = start + turn * 2.0
        yield from job_events(number, executor=executor, thread=thread + 1, at=at, seconds=1.9)


def _event(
    event_type: str, number: int, executor: int, thread: int, seq: int, at: float, **more: object
) -> Event:
    return make_event(
        {
            "type": event_type,
            "executor": executor_id(executor),
            "timestamp": at,
            "id": str(number),
            "name": f"count-{number}",
            "thread": thread,
            "seq": seq,
            **more,
        }
    )
