"""Events: what happens to jobs and executors, as typed messages on the events topic.

``types`` is a leaf (pydantic only), ``publisher`` is what executors use, ``subscriber`` and
``metrics`` are for those who watch; ``recorder``, ``recording`` and ``replay`` keep events in
files; ``commands`` is what `portfire events` and `metrics` print.
"""
