"""Which objects of a file, and in which order: conditions, sorting, random extraction."""
