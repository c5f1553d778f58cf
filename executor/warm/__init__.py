"""Kept containers, in which short jobs run one after the other."""
