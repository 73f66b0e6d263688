"""Reads what people write: YAML -> Config, or every problem with its line and column."""
