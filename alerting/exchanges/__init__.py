"""Sees: one poll becomes a snapshot or a failure."""
