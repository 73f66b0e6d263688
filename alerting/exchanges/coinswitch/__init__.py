"""CoinSwitch PRO: a client that can only read, and the way from its answers to snapshots."""
