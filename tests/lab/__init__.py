"""The laboratory: a place that tries to break every feature."""
