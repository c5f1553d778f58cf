"""All benchmarks, one after the other: ``make bench``."""

from __future__ import annotations

from benchmarks import containers, latency, memory, storage, throughput, where

if __name__ == "__main__":
    for benchmark in (throughput, where, latency, memory, storage, containers):
        benchmark.main()
        print()
