"""Names that a user may have meant."""

import os
from pathlib import Path


def did_you_mean(name: str | os.PathLike) -> str:
    """End of a "not found" message: the nearest name in the folder, or that the folder is missing; empty where nothing is near.

    IMAGIC pairs are compared, and suggested, with and without extension.
    """
    import difflib

    path = Path(name)
    folder = path.parent
    if not folder.is_dir():
        return f"; there is no folder {folder}"
    try:
        entries = [
            e.name for e in os.scandir(folder) if e.is_file() and not e.name.startswith(".") and not e.name.endswith(".img")
        ]
    except OSError:
        return ""
    bare = [] if path.suffix == ".hed" else [e.removesuffix(".hed") for e in entries if e.endswith(".hed")]
    known = sorted({*entries, *bare})
    lower: dict[str, str] = {}
    for entry in known:
        lower.setdefault(entry.lower(), entry)
    near = difflib.get_close_matches(path.name.lower(), list(lower), n=1, cutoff=0.6)
    if not near:  # the right name with another extension, or none
        near = [low for low in lower if Path(low).stem == path.name.lower() or low == path.stem.lower()][:1]
    return f"; did you mean {folder / lower[near[0]]}?" if near and lower[near[0]] != path.name else ""
