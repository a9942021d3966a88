"""What may be believed of a 3D: a word from evidence that a wrong 3D does not have."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

#: Other starts that must have found a 3D before it is called right; and how much of its images and poses must have outlived
#: the polishing (Jaccard index times share of the poses that stayed).
AGAIN, STAYED = 1, 0.7

WORDS = ("right", "reproduced", "mixed", "not reproduced", "not compared", "repeats another", "poor", "noise")


@dataclass(frozen=True)
class Evidence:
    """What speaks for a 3D, and against it.

    Attributes
    ----------
    runs : int
        Runs that were pooled; 1: there was no other to compare with.
    again : int
        Others that found it: the same images in the same poses.
    jaccard, posed : float
        The most similar 3D of another run: images in common, and the share of these in the same pose.
    stayed : float
        What of its images and poses is as it was when the starts were compared.
    effect : float
        Of the chance test.
    above_chance : bool
        Images fit the 3Ds better than random phases.
    poor : bool
        Half sets agree over fewer than 3 Fourier pixels.
    images : int
    duplicate_of : int or None
    states : int
        Classes that its images fall into by MSA in three dimensions; 0: they show no difference.
    views_missing : bool
        Its views leave so much of Fourier space without data that the map is drawn out.
    """

    runs: int
    again: int
    jaccard: float
    posed: float
    stayed: float
    effect: float
    above_chance: bool
    poor: bool
    images: int
    duplicate_of: int | None
    states: int = 0
    views_missing: bool = False

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


def _runs(count: int) -> str:
    return "another run" if count == 1 else f"{count} other runs"


def judged(e: Evidence) -> tuple[str, str]:
    """The word for a 3D, and why, for people."""
    if not e.above_chance:
        return "noise", f"its images fit it hardly better than random phases (effect {e.effect:.1f}): nothing is claimed"
    if e.poor:
        return "poor", "its half sets agree over fewer than 3 Fourier pixels"
    if e.duplicate_of is not None and e.again < AGAIN:
        return "repeats another", f"it is the same as 3D {e.duplicate_of} as far as it is resolved: ask for fewer"
    if e.states > 1:
        return "mixed", f"its images fall into {e.states} classes (im4d msa states): more than one 3D is in it, ask for more"
    if e.runs < 2:
        return "not compared", "one run from given poses or 3Ds: compare it with another (im4d compare) before you believe it"
    common = f"{100 * e.jaccard:.0f} % of the images in common, {100 * e.posed:.0f} % of these in the same pose"
    if e.again >= AGAIN and e.stayed >= STAYED and e.views_missing:
        why = "but its views lack whole directions, and what the map shows along these is not seen by any image"
        return "reproduced", f"found again by {_runs(e.again)} ({common}), {why}"
    if e.again >= AGAIN and e.stayed >= STAYED:
        return "right", f"found again by {_runs(e.again)} ({common})"
    if e.again >= AGAIN:
        return "reproduced", f"found again by {_runs(e.again)}, but its images or poses changed in polishing"
    return "not reproduced", f"no other of {e.runs} runs found it (nearest: {common}): do not believe it yet"


def statement(words: Sequence[str]) -> str:
    """The last line of a run: how many 3Ds deserve belief, and what to do next."""
    right = sum(w == "right" for w in words)
    if not words or all(w == "noise" for w in words):
        return "Nothing is claimed: the 3Ds are not above chance. Look at the images, and at their number and scale."
    if right == len(words):
        return (
            f"All {right} 3Ds were" if right > 1 else "The 3D was"
        ) + " found again by independent starts. Compare images with re-projections by eye before you use it."
    return (
        f"{right} of {len(words)} 3Ds were found again by independent starts and may be believed; the others not yet. Try more "
        "starts (--starts 12), another number of 3Ds, or images that are no particles left out."
    )
