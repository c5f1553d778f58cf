"""Settings of the dispatcher."""

from __future__ import annotations

from pydantic import Field

from dispatcher.retries import MOST_RETRIES
from messaging.retries import DEFAULT_RETRIES, Retries
from messaging.settings import PubSubSettings


class DispatcherSettings(PubSubSettings):
    """One dispatcher: which pool it feeds, how far ahead it claims, how it treats failures."""

    pool: str = Field(
        default="default",
        pattern=r"^[A-Za-z0-9_-]{1,60}$",
        description="Pool of executors that gets the jobs.",
        json_schema_extra={"env": "PORTFIRE_POOL"},
    )
    max_in_flight: int | None = Field(
        default=None,
        ge=1,
        description="Jobs of the pool claimed and not yet finished, at most. By default it follows "
        "the slots that executors announce: 64 and 4 for each slot, and more while jobs end so "
        "fast that this is less than 1.5 seconds of work. Fewer than there are slots leaves "
        "slots idle; many more lets a new high-priority Firework wait behind what is queued.",
        json_schema_extra={"env": "PORTFIRE_MAX_IN_FLIGHT"},
    )
    max_attempts: int = Field(
        default=5,
        ge=1,
        description="Deaths of its process or its executors after which a launch is FIZZLED: it "
        "probably kills them. Jobs given back on a soft stop do not count.",
        json_schema_extra={"env": "PORTFIRE_MAX_ATTEMPTS"},
    )
    infrastructure_retries: int = Field(
        default=DEFAULT_RETRIES.infrastructure,
        ge=0,
        le=MOST_RETRIES,
        description="How many times a launch runs again because its store, registry or Docker "
        "Engine is away, after pauses that grow from 1 s to 1 minute: the default is enough for "
        "about half an hour.",
        json_schema_extra={"env": "PORTFIRE_INFRASTRUCTURE_RETRIES"},
    )
    error_retries: int = Field(
        default=DEFAULT_RETRIES.error,
        ge=0,
        le=MOST_RETRIES,
        description="How many times a launch runs again after an error of its own: an exception "
        "of its task, an exit code, a missing file.",
        json_schema_extra={"env": "PORTFIRE_ERROR_RETRIES"},
    )
    lease_seconds: float = Field(
        default=60.0,
        ge=10,
        le=600,
        description="Ack deadline of the job subscription, in seconds, when it is created here.",
        json_schema_extra={"env": "PORTFIRE_LEASE_SECONDS"},
    )
    poll_seconds: float = Field(
        default=0.03,
        gt=0,
        description="How often the LaunchPad is asked for READY Fireworks within 30 seconds of the "
        "last work, in seconds.",
    )
    idle_poll_seconds: float = Field(
        default=0.35,
        gt=0,
        description="The same later. A MongoDB replica set tells by itself: it is asked every 5 s.",
    )
    check_seconds: float = Field(
        default=1.0,
        gt=0,
        description="How often it looks for Fireworks that were defused, paused, rerun or deleted "
        "under a running job, in seconds.",
    )
    topology_seconds: float = Field(
        default=5.0,
        gt=0,
        description="How often it makes sure that topics and subscriptions still exist, seconds.",
    )
    lost_seconds: float = Field(
        default=90.0,
        gt=0,
        description="After Pub/Sub lost its state (an embedded broker restarted): a running job "
        "that has not been heard of for so many seconds is published again.",
        json_schema_extra={"env": "PORTFIRE_LOST_SECONDS"},
    )
    requeue_seconds: float = Field(
        default=6 * 86_400.0,
        gt=0,
        description="A job that has waited so long for an executor is published again, as a new "
        "attempt: Pub/Sub drops messages after the subscription's retention, 7 days by default.",
        json_schema_extra={"env": "PORTFIRE_REQUEUE_SECONDS"},
    )
    unlock_seconds: float = Field(
        default=600.0,
        ge=0,
        description="A workflow that an lpad command has kept locked for so many seconds is "
        "unlocked and brought up to date: the command was killed. 0 leaves that to "
        "`portfire dispatcher repair`.",
        json_schema_extra={"env": "PORTFIRE_UNLOCK_SECONDS"},
    )
    predecessors_dead: bool = Field(
        default=False,
        description="Whatever this prefix ran before is dead for certain, executors too: what is "
        "found RUNNING at the start is published again at once.",
    )
    create: bool = Field(
        default=True,
        description="Create missing topics and subscriptions; --no-create for those without the "
        "right to.",
    )
    drain: bool = Field(
        default=False, description="Stop when nothing is left to run, as rlaunch rapidfire does."
    )

    @property
    def retries(self) -> Retries:
        """Of jobs whose Firework says nothing else."""
        return Retries(infrastructure=self.infrastructure_retries, error=self.error_retries)
