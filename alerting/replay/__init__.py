"""What would have been: recorded polls through the engine."""
