"""The generated pages of the documentation, and the site's hook."""
