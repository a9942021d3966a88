"""The one door to random numbers.

Streams are keyed by (seed, stage, index), never by rank or thread, so any split of the work gives the
same numbers. Generator: Philox 4x64 (Salmon et al., SC'11, doi:10.1145/2063384.2063405).
"""

import hashlib

import numpy as np

_MASK64 = (1 << 64) - 1


def _key(seed: int, stage: str) -> int:
    """128-bit Philox key of a seed and a stage name."""
    digest = hashlib.blake2b(f"{int(seed)}/{stage}".encode(), digest_size=16).digest()
    return int.from_bytes(digest, "little")


def rng_for(seed: int, stage: str, index: int = 0) -> np.random.Generator:
    """Return the generator of one (seed, stage, index).

    Parameters
    ----------
    seed : int
        The run's seed.
    stage : str
        Name of the use, e.g. ``"recon/membership"``; different stages are independent.
    index : int
        Image number or another non-negative counter, below 2**64; streams of different indices do not overlap
        (2**128 numbers apart).

    Returns
    -------
    numpy.random.Generator
    """
    counter = np.array([0, 0, index & _MASK64, 0], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=_key(seed, stage), counter=counter))


def draw_seed() -> int:
    """Draw a fresh 31-bit seed from the operating system, to be recorded with the result."""
    return int(np.random.SeedSequence().generate_state(1)[0] >> 1)
