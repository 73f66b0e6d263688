"""The wire: nothing outlasts its deadline, and every failure has words."""
