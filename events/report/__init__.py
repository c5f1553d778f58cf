"""The report of a recording: what ran where, what it cost, and what failed.

``story`` gathers, ``figures`` and ``critical_path`` count; ``page`` (with ``timeline_chart``,
``distributions`` and ``table``, by Bokeh) writes one HTML file, ``picture`` a picture by
matplotlib, ``rows`` a CSV file.
"""
