"""Words a notification for each service, within its limits."""
