"""What to do next with a 3D that has been judged, by its word."""

from collections.abc import Sequence

#: Word of a verdict -> what a user does next.
NEXT = {
    "right": "Compare images with re-projections by eye, the worst ones too; then use it.",
    "reproduced": "Look at it beside the 3Ds of another seed before you use it: its images or poses still changed in polishing.",
    "not reproduced": "Do not believe it yet. More starts (--starts 12), one 3D more or fewer, or images that are no particles "
    "left out.",
    "not compared": "Run it from random angles too (--start random), or compare it with another run (im4d compare).",
    "repeats another": "Ask for one 3D fewer, or take both for one structure.",
    "mixed": 'Solve its images alone, as two: im4d refine RUN/images.hed RUN2 --volumes 2 --where "ref3d == K".',
    "junk": "Leave its images out (im4d excopy --where) and run again.",
    "poor": "Too few images, or images that are no particles: look at them; ask for fewer 3Ds.",
    "noise": "Nothing may be read from it. Look at the images: is there signal, is protein bright, is the scale right?",
}


def advice(words: Sequence[str]) -> list[tuple[list[int], str, str]]:
    """What to do next, once for each word that was given: numbers of the 3Ds (from 1), the word, what to do."""
    out = []
    for word in dict.fromkeys(words):
        if word in NEXT:
            out.append(([k for k, w in enumerate(words, 1) if w == word], word, NEXT[word]))
    return out
