"""Fleets of executors on Google Compute Engine: VMs that are made, told, listed and deleted.

Nothing here is imported by executors or dispatchers; it may use what they say of themselves.
"""
