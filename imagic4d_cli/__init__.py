"""imagic4d_cli: the `im4d` command line. Only Click and the standard library are imported at module level."""

RELEASE_DATE = "2026-11-22"
"""Date of the release, printed in the man pages (never today's date, which would make them drift)."""
