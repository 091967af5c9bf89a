"""Weight space: interpolation and error barriers."""
