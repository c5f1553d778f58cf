"""The live monitor: a web page on Bokeh's server, a terminal table, snapshots."""
