"""The executors of a pool, as they announce themselves; kept where all dispatchers see them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from dispatcher.launchpad import is_embedded
from messaging.wire import ExecutorNews

COLLECTION = "portfire_executors"
#: An executor that has been silent for so many of its heartbeats is not counted any more.
PATIENCE = 3.5
#: Seconds after which what a silent executor said is deleted.
_FORGET_SECONDS = 86_400.0


@dataclass(frozen=True)
class _Heard:
    slots: int
    heartbeat: float
    #: What tells one announcement from the next, and the monotonic time at which it was new.
    mark: object
    at: float

    def is_alive(self, now: float) -> bool:
        return now - self.at < PATIENCE * self.heartbeat


class Executors:
    """What is known of one pool's executors. Not thread-safe; raises pymongo's errors."""

    def __init__(self, launchpad: Any, prefix: str, pool: str) -> None:
        self._collection = launchpad.db[COLLECTION]
        # With the embedded LaunchPad there is nobody else who could want to know.
        self._is_shared = not is_embedded(launchpad)
        self._where = {"prefix": prefix, "pool": pool}
        self._heard: dict[str, _Heard] = {}

    def hear(self, news: ExecutorNews) -> None:
        """An executor has spoken."""
        key = {"_id": f"{self._where['prefix']}/{self._where['pool']}/{news.executor}"}
        if news.stopped:
            self._heard.pop(news.executor, None)
            if self._is_shared:
                self._collection.delete_one(key)
            return
        self._heard[news.executor] = _Heard(
            news.slots, news.heartbeat, news.timestamp, time.monotonic()
        )
        if self._is_shared:
            fields = news.model_dump(include={"executor", "host", "slots", "busy", "heartbeat"})
            said = {**self._where, **fields, "said": news.timestamp}
            change = {"$set": said, "$currentDate": {"heard": True}}
            self._collection.update_one(key, change, upsert=True)

    def look(self) -> None:
        """Read what other dispatchers have heard."""
        if not self._is_shared:
            return
        now = time.monotonic()
        found = {each["executor"]: each for each in self._collection.find(self._where)}
        for executor, each in found.items():
            known = self._heard.get(executor)
            if known is None or known.mark != each["said"]:
                self._heard[executor] = _Heard(
                    int(each["slots"]), float(each["heartbeat"]), each["said"], now
                )
        self._heard = {
            executor: heard
            for executor, heard in self._heard.items()
            if executor in found and heard.is_alive(now)
        }

    def forget_silent(self) -> None:
        """Delete what executors said that have vanished without a word."""
        if self._is_shared:
            oldest = {"$lt": time.time() - _FORGET_SECONDS}
            self._collection.delete_many({**self._where, "said": oldest})

    @property
    def slots(self) -> int:
        """Slots of those that live."""
        now = time.monotonic()
        return sum(heard.slots for heard in self._heard.values() if heard.is_alive(now))

    @property
    def longest_heartbeat(self) -> float:
        """The longest interval at which one of those that live speaks; 0.0 if none does."""
        now = time.monotonic()
        living = (heard.heartbeat for heard in self._heard.values() if heard.is_alive(now))
        return max(living, default=0.0)
