"""The systems beside which Portfire is measured, each in a module of its own.

Those that run as programs of ours (`python -m benchmarks.peers.MODULE SHAPE JOBS`) do nothing but
the jobs, with two workers, and print a `Timing` as JSON.
"""
