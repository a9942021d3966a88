"""Some objects of a file, in a chosen order, into a new or an existing file: IMAGIC's EXCLUSIVE-COPY."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imagic4d_core.errors import InputError, MismatchError, UsageError, check_word
from imagic4d_core.expression import Expression
from imagic4d_core.io.locations import Locations, split_spec
from imagic4d_core.io.plt import locations_of, read_plt
from imagic4d_core.io.stack import Stack, open_stack
from imagic4d_core.io.words import expression_names, label_of, values_of, word_values
from imagic4d_core.jobs.files.copying import CopySummary, Progress, put
from imagic4d_core.parallel import SERIAL
from imagic4d_core.selection import order

_HEADERS = 8192
#: IMAGIC's criteria of SORT -> header word.
CRITERIA = {"ANGULAR_ERROR": "ERRAR", "ANGULAR-ERROR": "ERRAR", "OVERALL": "OVQUAL"}


@dataclass
class Selected(CopySummary):
    """What was written, and what was chosen for it.

    Attributes
    ----------
    operation, what : str
    available : int
        Objects in the input.
    candidates : int
        Those that locations, condition and parity left.
    """

    operation: str = ""
    what: str = ""
    available: int = 0
    candidates: int = 0

    def lines(self) -> list[str]:
        """For people."""
        first, *rest = super().lines()
        return [first, f"  {self.operation}: {self.copied} of {self.available} {self.what}", *rest]


def excopy(
    src: str | os.PathLike, dst: str | os.PathLike, *, operation: str = "extract", what: str | None = None,
    loc: Locations | None = None, plt: str | os.PathLike | None = None, where: str | None = None, parity: str = "all",
    by: str | int | None = None, down: bool = False, keep: int | None = None, seed: int | None = None, overwrite: bool = False,
    comm: Any = SERIAL, threads: int | None = None, progress: Progress = None,
) -> Selected:  # fmt: skip
    """Copy chosen images or volumes, with their headers; densities of one type and format byte by byte.

    Candidates are the locations given, of those the ones that fulfil `where`, of those the ones of the right parity. Word 109
    (LOCOLD) gets the location in the input.

    Parameters
    ----------
    src : path
        ``NAME,3,5`` selects too.
    dst : path
        ``NAME,10`` replaces from location 10 on in an existing file: images replace sections of volumes too.
    operation : {"extract", "exclude", "select", "sort", "reverse", "randex"}
        The candidates as given; all but the candidates; those that fulfil `where`; ordered by a header word; from last to first;
        in random order.
    what : {"images", "volumes"}, optional
        What is copied and counted; default: volumes of a file of volumes, else images.
    loc : Locations, optional
    plt : path, optional
        File of locations, in its first column.
    where : str, optional
        Condition on header words, see `expression`; ``LOC`` is the location.
    parity : {"all", "odd", "even"}
        Of the location in the input.
    by : str or int, optional
        Word to sort by; ANGULAR_ERROR stands for 105, OVERALL for 115.
    down : bool
        Sort from large to small.
    keep : int, optional
        Stop after so many; 0 keeps all.
    seed : int, optional
        For "randex".
    overwrite, comm, threads, progress
        As `copying.copy`.

    Returns
    -------
    Selected

    Raises
    ------
    InputError
        Also: nothing is left, a condition that cannot be read, a location that is not there.
    MismatchError, OutputError, UsageError
    """
    check_word("parity", parity, order.PARITIES)
    _check(operation, loc, plt, where, by, down, seed)
    name, inner = split_spec(src)
    if inner is not None and (loc is not None or plt is not None):
        raise MismatchError(f"{src}: locations are given twice, in the name and by an option; give them once")
    mode = what or "auto"
    with open_stack(name, what=mode) as whole:
        unit = "volumes" if whole.is_volumes else "images"
        per, count = whole.sections, whole.objects
        kind = unit if unit == "volumes" or not whole.layout.is_volumes else "sections"
        index = _candidates(whole, loc or inner, plt, kind)
        if where is not None:
            index = index[fulfil(whole, index, where)]
        index = order.of_parity(index, parity)
        candidates = len(index)
        index = _ordered(whole, index, operation, by, down, seed)
        if keep:
            index = index[:keep]
        if not len(index):
            raise InputError(
                f"{whole.path}: nothing is left of {count} {unit}{f' by {where!r}' if where else ''}; widen the selection"
            )
        images = (index[:, None] * per + np.arange(per)).ravel()
        chosen = Stack(whole.reader, images, unit == "images")

        def note(headers: NDArray, start: int) -> None:
            headers["LOCOLD"] = np.repeat(index + 1, per)[start : start + len(headers)]

        done = put(chosen, dst, unit=unit, edit=note, overwrite=overwrite, progress=progress)
        return Selected(**vars(done) | {"operation": operation, "what": unit, "available": count, "candidates": candidates})


def _check(operation: str, loc: Any, plt: Any, where: str | None, by: Any, down: bool, seed: int | None) -> None:
    if operation not in order.OPERATIONS:
        raise UsageError(f"operation {operation!r} is not one of {', '.join(order.OPERATIONS)}")
    if loc is not None and plt is not None:
        raise UsageError("locations are given by --loc and by --plt; give one of the two")
    if operation == "select" and where is None:
        raise UsageError("select needs a condition: --where 'ccc > 0.3'")
    if operation == "exclude" and loc is None and plt is None and where is None:
        raise UsageError("exclude needs --loc, --plt or --where: what is to be left out")
    if operation == "sort" and by is None:
        raise UsageError("sort needs --by: a header word, ANGULAR_ERROR or OVERALL")
    if operation != "sort" and (by is not None or down):
        raise UsageError(f"--by and --down belong to sort, not to {operation}")
    if operation == "randex" and seed is None:
        raise UsageError("randex needs a seed")
    if by is not None:
        label_of(_criterion(by))
    if where is not None:
        Expression.parse(where, expression_names())


def _criterion(by: str | int) -> str | int:
    return CRITERIA.get(str(by).strip().upper(), by)


def _candidates(stack: Stack, loc: Locations | None, plt: str | os.PathLike | None, kind: str) -> NDArray[np.intp]:
    if plt is not None:
        return locations_of(plt, read_plt(plt)[:, 0], stack.objects, kind)
    if loc is not None:
        return loc.resolve(stack.objects, stack.path, kind)
    return np.arange(stack.objects)


def headers_of(stack: Stack, index: NDArray[np.intp]) -> NDArray:
    """Header records of the first section of some objects (0-based), shape (len(index),), `HEADER_DTYPE`."""
    return Stack(stack.reader, index * stack.sections, True).headers(checked=False)


def fulfil(stack: Stack, index: NDArray[np.intp], where: str) -> NDArray[np.bool_]:
    """Which of some objects (0-based) fulfil a condition on their header words (UsageError, InputError: it is none)."""
    condition = Expression.parse(where, expression_names())
    out = np.empty(len(index), bool)
    for start in range(0, len(index), _HEADERS):
        part = index[start : start + _HEADERS]
        value = condition(**values_of(headers_of(stack, part), condition.names, part + 1))
        if value.dtype != bool:
            raise InputError(f"--where {where!r} is a number, not a condition; compare it with something, such as {where} > 0")
        out[start : start + len(part)] = value
    return out


def _ordered(
    stack: Stack, index: NDArray[np.intp], operation: str, by: str | int | None, down: bool, seed: int | None
) -> NDArray[np.intp]:
    if operation == "exclude":
        return order.others(index, stack.objects)
    if operation == "reverse":
        return index[::-1]
    if operation == "randex":
        return order.random_order(index, int(seed or 0))
    if operation != "sort" or by is None:
        return index
    word = _criterion(by)
    parts = [word_values(headers_of(stack, index[start : start + _HEADERS]), word) for start in range(0, len(index), _HEADERS)]
    values = np.concatenate(parts) if parts else np.empty(0)
    if values.dtype.kind == "U":
        raise UsageError(f"word {label_of(word)} is a text; sort by a word that holds numbers")
    return order.sort_by(index, values, down)
