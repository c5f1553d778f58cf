"""All benchmarks, one after the other: ``make bench``."""

from __future__ import annotations

from benchmarks import latency, memory, throughput

if __name__ == "__main__":
    for benchmark in (throughput, latency, memory):
        benchmark.main()
        print()
