"""SPIDER files in both byte orders."""

import numpy as np
import pytest
from imagic_files import pattern

from imagic4d_core.errors import InputError
from imagic4d_core.io.stack import open_stack


def write_spider(path, data, order="<", stack=False, form=None):
    """`data`, shape (objects, sections, lines, pixels)."""
    objects, nz, ny, nx = data.shape
    labrec = -(-256 // nx)
    words = np.zeros(labrec * nx, f"{order}f4")
    words[[0, 1, 4, 11, 12, 21, 22]] = nz, ny, form or (3 if nz > 1 else 1), nx, labrec, labrec * nx * 4, nx * 4
    parts = []
    if stack:
        words[23], words[25] = 2, objects
        parts.append(words.tobytes())
        words[23] = 0
    for item in data:
        parts += [words.tobytes(), item.astype(f"{order}f4").tobytes()]
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("shape", [(1, 1, 5, 7), (1, 3, 5, 300), (4, 1, 6, 3), (2, 3, 4, 5)])
def test_shapes(tmp_path, order, shape):
    data = pattern(*shape)
    with open_stack(write_spider(tmp_path / "a.spi", data, order, stack=shape[0] > 1)) as stack:
        assert stack.format == "SPIDER" and stack.shape == shape
        assert np.array_equal(stack.read_volumes(), data)
        assert np.array_equal(stack.read(stack.n_images - 1), data[-1, -1:])


def test_damaged(tmp_path):
    path = write_spider(tmp_path / "a.spi", pattern(3, 1, 4, 5), stack=True)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match="truncated"):
        open_stack(path)
    with pytest.raises(InputError, match="IFORM"):
        open_stack(write_spider(tmp_path / "b.spi", pattern(1, 1, 4, 5), form=-11))
