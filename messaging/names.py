"""Names of the topics and subscriptions of one installation, all derived from its prefix."""

from __future__ import annotations

from dataclasses import dataclass

#: The pool of jobs that name none.
DEFAULT_POOL = "default"


@dataclass(frozen=True)
class Names:
    """Topic and subscription ids (not paths) for one prefix. Pure; safe to share."""

    #: ``PORTFIRE_PREFIX``: lets several installations share a Google Cloud project.
    prefix: str = "portfire"

    @property
    def jobs(self) -> str:
        """Topic of job messages."""
        return f"{self.prefix}-jobs"

    @property
    def updates(self) -> str:
        """Topic of executors' updates."""
        return f"{self.prefix}-updates"

    @property
    def control(self) -> str:
        """Topic of control messages to executors."""
        return f"{self.prefix}-control"

    @property
    def events(self) -> str:
        """Topic of events."""
        return f"{self.prefix}-events"

    @property
    def dead_jobs(self) -> str:
        """Topic of job messages that Pub/Sub gave up on."""
        return f"{self.prefix}-jobs-dead"

    def pool_jobs(self, pool: str) -> str:
        """Subscription from which the executors of `pool` pull."""
        return f"{self.prefix}-jobs-{pool}"

    def pool_updates(self, pool: str) -> str:
        """Subscription from which the dispatcher of `pool` gets its executors' updates."""
        return f"{self.prefix}-updates-{pool}"

    def pool_dead_jobs(self, pool: str) -> str:
        """Subscription from which the dispatcher of `pool` gets what Pub/Sub gave up on."""
        return f"{self.prefix}-jobs-dead-{pool}"

    def executor_control(self, executor: str) -> str:
        """Subscription of one executor to the control topic."""
        return f"{self.prefix}-control-{executor}"

    def reply(self, token: str) -> str:
        """Topic and subscription for the replies to one `portfire submit`."""
        return f"{self.prefix}-reply-{token}"

    def watcher(self, token: str) -> str:
        """Subscription of one temporary watcher of the events topic."""
        return f"{self.prefix}-events-{token}"


def pool_filter(pool: str) -> str:
    """Subscription filter of a pool; the default pool also takes jobs that name none."""
    named = f'attributes.pool = "{pool}"'
    return f"{named} OR NOT attributes:pool" if pool == DEFAULT_POOL else named


def belongs_to_pool(attributes: dict[str, str], pool: str) -> bool:
    """What `pool_filter` says, for servers that ignore filters (Google's emulator does)."""
    return attributes.get("pool", DEFAULT_POOL) == pool
