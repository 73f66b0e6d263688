"""Decides, purely: rules, what was seen, what is remembered, now -> what is true, who is told."""
