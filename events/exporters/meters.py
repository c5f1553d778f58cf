"""All that is measured: the one list of names, kinds and labels; docs/metrics.md has it, too.

Label values are few: pools, states, phases, backends, event types. Never jobs or executors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]

#: Upper bounds of the histograms' buckets, seconds: from no-op tasks to a day.
SECONDS_BUCKETS = (
    *(0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
    *(60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0, 86400.0),
)


@dataclass(frozen=True, slots=True)
class Meter:
    """One thing that is measured. Names follow Prometheus: base units, ``_total`` for counters."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    #: A sentence without its full stop.
    help: str


JOBS = Meter(
    "portfire_jobs_total",
    "counter",
    ("pool", "state"),
    "Runs of jobs that ended: COMPLETED, FIZZLED, FAILED, released, cancelled, rejected, lost",
)
JOB_FAILURES = Meter(
    "portfire_job_failures_total",
    "counter",
    ("pool", "phase"),
    "Jobs that ended FIZZLED or FAILED, by the phase that failed",
)
JOB_SECONDS = Meter(
    "portfire_job_seconds",
    "histogram",
    ("pool", "state"),
    "Seconds from a run's start to its end on its executor",
)
PHASE_SECONDS = Meter(
    "portfire_job_phase_seconds",
    "histogram",
    ("pool", "phase"),
    "Seconds of each phase of a run: queued, image-pull, stage-in, execution, stage-out",
)
BYTES = Meter(
    "portfire_bytes_total",
    "counter",
    ("pool", "phase", "backend"),
    "Bytes staged in and out by runs that ended",
)
CACHED_BYTES = Meter(
    "portfire_cached_bytes_total",
    "counter",
    ("pool",),
    "Bytes staged in that came from an executor's input cache",
)
CPU_SECONDS = Meter(
    "portfire_job_cpu_seconds_total",
    "counter",
    ("pool",),
    "Processor seconds of the programs and containers of runs that ended",
)
JOBS_RUNNING = Meter(
    "portfire_jobs_running",
    "gauge",
    ("pool", "phase"),
    "Jobs that run now, by phase (other: between phases)",
)
EXECUTORS = Meter(
    "portfire_executors",
    "gauge",
    ("pool", "state"),
    "Executors: ready, draining, lost (silent for 90 s; forgotten after an hour)",
)
SLOTS = Meter(
    "portfire_executor_slots",
    "gauge",
    ("pool", "state"),
    "Slots of executors that are ready or draining: busy, idle",
)
MEMORY = Meter(
    "portfire_executor_memory_bytes",
    "gauge",
    ("pool",),
    "Resident memory of the largest executor",
)
DISK_FREE = Meter(
    "portfire_executor_disk_free_bytes",
    "gauge",
    ("pool",),
    "Free space where launch directories are made, on the fullest executor",
)
SILENCE = Meter(
    "portfire_executor_silence_seconds",
    "gauge",
    ("pool",),
    "Seconds since the most silent executor that should speak was heard of",
)
EVENTS = Meter("portfire_events_total", "counter", ("type",), "Events received")
EVENTS_MALFORMED = Meter(
    "portfire_events_malformed_total",
    "counter",
    (),
    "Messages on the events topic that are no events",
)
EVENTS_LOST = Meter(
    "portfire_events_lost_total",
    "counter",
    ("pool",),
    "Events that executors could not publish",
)

METERS: tuple[Meter, ...] = (
    JOBS,
    JOB_FAILURES,
    JOB_SECONDS,
    PHASE_SECONDS,
    BYTES,
    CACHED_BYTES,
    CPU_SECONDS,
    JOBS_RUNNING,
    EXECUTORS,
    SLOTS,
    MEMORY,
    DISK_FREE,
    SILENCE,
    EVENTS,
    EVENTS_MALFORMED,
    EVENTS_LOST,
)
