"""A PNG encoder for arrays: no time stamp, no software text, the same bytes for the same pixels and zlib."""

import base64
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPE = {1: 0, 3: 2, 4: 6}


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """PNG file of an 8-bit picture (ISO/IEC 15948).

    Parameters
    ----------
    pixels : ndarray, shape (lines, pixels) grey or (lines, pixels, 3 or 4) RGB or RGBA, uint8

    Returns
    -------
    bytes
    """
    head, data = _packed(pixels)
    return _SIGNATURE + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def encode_apng(frames: Sequence[NDArray[np.uint8]], milliseconds: int) -> bytes:
    """Animated PNG that runs for ever; programs that know no animation show the first frame (PNG, third edition, 11.3.6).

    Parameters
    ----------
    frames : sequence of ndarray
        Pictures of one shape, as `encode_png` takes them.
    milliseconds : int
        Time of a frame.
    """
    if len({np.shape(f) for f in frames}) != 1:
        raise ValueError("frames of one shape are needed, one at least")
    packed = [_packed(f) for f in frames]
    head = packed[0][0]
    width, lines = struct.unpack(">II", head[:8])
    out = [_SIGNATURE, _chunk(b"IHDR", head), _chunk(b"acTL", struct.pack(">II", len(frames), 0))]
    sequence = 0
    for i, (_, data) in enumerate(packed):
        control = struct.pack(">IIIIIHHBB", sequence, width, lines, 0, 0, milliseconds, 1000, 0, 0)
        out.append(_chunk(b"fcTL", control))
        sequence += 1
        if i:
            data = struct.pack(">I", sequence) + data
            sequence += 1
        out.append(_chunk(b"fdAT" if i else b"IDAT", data))
    return b"".join([*out, _chunk(b"IEND", b"")])


def _packed(pixels: NDArray[np.uint8]) -> tuple[bytes, bytes]:
    """Contents of the chunks IHDR and IDAT."""
    a = np.ascontiguousarray(pixels, dtype=np.uint8)
    if a.ndim == 2:
        a = a[..., None]
    if a.ndim != 3 or a.shape[2] not in _COLOUR_TYPE or 0 in a.shape:
        raise ValueError(f"no picture of shape {pixels.shape}: (lines, pixels) or (lines, pixels, 3 or 4) expected")
    lines, width, depth = a.shape
    # filter 1 (difference to the left neighbour) halves the size of smooth greys
    raw = np.empty((lines, 1 + width * depth), dtype=np.uint8)
    raw[:, 0] = 1
    body = raw[:, 1:].reshape(lines, width, depth)
    body[...] = a
    body[:, 1:] -= a[:, :-1]
    head = struct.pack(">IIBBBBB", width, lines, 8, _COLOUR_TYPE[depth], 0, 0, 0)
    return head, zlib.compress(raw.tobytes(), 9)


def data_uri(png: bytes) -> str:
    """``data:`` address of PNG bytes, for pages that need no network."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
