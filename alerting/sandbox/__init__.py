"""A whole world on this machine: an exchange, an inbox, the demo."""
