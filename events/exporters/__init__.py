"""What happens, for the tools that people have: Prometheus, StatsD, CSV files, OpenTelemetry.

``portfire metrics`` feeds any number of exporters from one subscription: `collection` turns events
into measurements (`meters` lists them all), ended runs and finished jobs; each exporter takes what
it needs of these.
"""
