"""Kept containers, on a real Docker Engine."""
