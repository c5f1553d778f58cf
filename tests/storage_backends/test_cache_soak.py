"""Jobs that share inputs, replace them and spoil their copies, with the cache on."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from storage_backends import StorageBackend, open_backend
from storage_backends.cache.backend import CachedBackend
from storage_backends.cache.files import InputCache
from storage_backends.pool import TransferPool
from tests.storage_backends.memory import MemoryBackend

JOBS = 200
NAMES = [f"shared/{number}" for number in range(8)]
LIMIT = 600_000


@pytest.fixture(params=["nfs", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StorageBackend]:
    """A store whose files have versions."""
    (tmp_path / "store").mkdir()
    if request.param == "memory":
        yield MemoryBackend()
    else:
        with open_backend("nfs", {"workdir": str(tmp_path / "store")}) as backend:
            yield backend


class Ledger:
    """What each input has been, and is. A store replaces it as a whole, at one moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards both
        self._contents: dict[str, list[bytes]] = {name: [] for name in NAMES}

    def begin(self, name: str, content: bytes) -> None:
        """From now on it may be `content`, too."""
        with self._lock:
            self._contents[name].append(content)

    def mark(self, name: str) -> int:
        """The number of the content that it is at least."""
        with self._lock:
            return len(self._contents[name]) - 1

    def since(self, name: str, mark: int) -> list[bytes]:
        """All that it has been from that number on, until now."""
        with self._lock:
            return self._contents[name][mark:]


def test_every_byte_of_every_job_is_right(store: StorageBackend, tmp_path: Path) -> None:
    ledger, writing = Ledger(), {name: threading.Lock() for name in NAMES}
    seconds = random.Random(3)
    plans = [seconds.getrandbits(32) for _ in range(JOBS)]

    def replace(name: str, dice: random.Random, directory: Path) -> None:
        with writing[name]:
            content = dice.randbytes(dice.randrange(1, 200_000))
            (directory / "new").write_bytes(content)
            ledger.begin(name, content)
            store.store(directory / "new", name, within=directory)

    def content_now(name: str) -> int:
        with writing[name]:
            return ledger.mark(name)

    with (
        closing(TransferPool(4)) as pool,
        closing(InputCache(tmp_path / "cache", LIMIT)) as cache,
        ThreadPoolExecutor(8) as threads,
    ):
        cached = CachedBackend(store, cache, "soak", pool)
        for name in NAMES:
            replace(name, random.Random(name), tmp_path)

        def job(number: int) -> int:
            dice = random.Random(plans[number])
            directory = tmp_path / f"job-{number}"
            directory.mkdir()
            wanted = dice.sample(NAMES, 3)
            marks = {name: content_now(name) for name in wanted}
            targets = {name: directory / name for name in wanted}
            moved = cached.fetch_all(targets)
            for name, path in targets.items():
                assert path.read_bytes() in ledger.since(name, marks[name]), name
                assert path.stat().st_mode & 0o600 == 0o600
                path.write_bytes(b"spoilt")
            if dice.random() < 0.2:
                replace(dice.choice(NAMES), dice, directory)
            assert cache.used <= LIMIT
            return sum(transfer.cached for transfer in moved.values())

        assert sum(threads.map(job, range(JOBS))) > 0
        assert sum(path.stat().st_size for path in cache.directory.iterdir()) <= LIMIT
