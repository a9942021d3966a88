"""The `im4d` command line. Modules here import click and the standard library only at module level."""
