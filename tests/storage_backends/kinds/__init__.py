"""The kinds of store that sit the exam: one module for each backend."""
