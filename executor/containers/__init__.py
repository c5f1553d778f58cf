"""Containers of jobs on a Docker engine: what is asked of it, what happened, and what is left."""
