"""The executor's input cache."""
