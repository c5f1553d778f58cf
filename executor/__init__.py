"""The executor: daemon, slots, the LaunchPadProxy, staging and tasks."""
