"""Many jobs at once: executors."""
