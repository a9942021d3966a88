"""File-to-file drivers: they stream blocks, use `comm`, and return a summary."""
