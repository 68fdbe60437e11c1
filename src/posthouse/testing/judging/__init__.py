"""The judge of a history, in parts: see `posthouse.testing.history`."""
