"""Delivers: each attempt at each receiver ends with a verdict."""
