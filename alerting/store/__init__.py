"""Remembers: state, outbox, history and what people asked for; all SQL of the program."""
