"""Runs it: one cycle, the loop, the reload, the locks."""
