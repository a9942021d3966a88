"""Whatever is written is read back: all types, shapes, headers, locations."""

import itertools

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagic4d_core.io import header as hdr
from imagic4d_core.io.locations import format_locations, parse_locations
from imagic4d_core.io.stack import create_stack, open_stack

quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
counter = itertools.count()
sizes = st.integers(1, 7)
text = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60)


@quick
@given(
    st.tuples(sizes, sizes, sizes, sizes),
    st.sampled_from(["f4", "i4", "i2", "u1", "c8"]),
    st.sampled_from([".hed", ".mrc"]),
    st.data(),
)
def test_round_trip(tmp_path, shape, kind, end, data):
    path = tmp_path / f"a{next(counter)}{end}"
    values = np.random.default_rng(data.draw(st.integers(0, 99))).normal(100, 20, shape)
    array = (values + 1j * values if kind == "c8" else values).astype(kind)
    flat = array.reshape(-1, *shape[2:])
    cut = data.draw(st.integers(0, len(flat)))
    with create_stack(path, *shape, dtype=array.dtype, pixel_size=1.5) as out:
        out.write(cut, flat[cut:])
        out.write(0, flat[:cut])
    with open_stack(path) as stack:
        # MRC cannot tell one section from one image
        assert stack.shape == shape
        assert stack.pixel_size == 1.5
        got = stack.read_raw()
        assert np.array_equal(got, flat.astype(got.dtype))
        if end == ".hed":
            assert got.dtype == array.dtype


@quick
@given(
    st.lists(text, min_size=1, max_size=5),
    st.integers(0, 2**20),  # larger memberships are refused, and counts below 0
    st.floats(0, 1e5, width=32),  # larger angles and shifts are refused, and sizes below 0
)
def test_header_words_and_text(tmp_path, titles, number, value):
    path = tmp_path / f"a{next(counter)}"
    h = hdr.blank_headers(len(titles), 2, 3)
    h["NAME"] = [t.encode() for t in titles]
    h["HISTORY"] = [t.encode() for t in titles]
    fixed = {
        "IMN",
        "IFOL",
        "IERROR",
        "NBLOCKS",
        "RSIZE",
        "IZOLD",
        "IXLP",
        "IYLP",
        "COMPLEX",
        "AVDENS",
        "SIGMA",
        "DENSMAX",
        "DENSMIN",
    }
    fixed |= {"IZLP", "I4LP", "IMAVERS", "REALTYPE", "READIM", "WRITIM", "NUM", "NUMHEAD", "LBUF", "READONLY", "NYEAR", "PIXSIZE"}
    free = [w for w in hdr.WORDS if w.name not in fixed and w.type in "IF"]
    for word in free:
        h[word.name] = number if word.type == "I" else value
    with create_stack(path, len(titles), 1, 2, 3) as out:
        out.write(0, np.ones((len(titles), 2, 3)))
        out.set_headers(0, h)
    with open_stack(path) as stack:
        got = stack.headers()
    for word in free:
        if word.name not in ("NMONTH", "NDAY", "NHOUR", "NMINUT", "NSEC"):
            assert np.array_equal(got[word.name], h[word.name]), word.name
    assert [t.decode().rstrip() for t in got["NAME"]] == titles
    assert [t.decode().rstrip() for t in got["HISTORY"]] == titles


@quick
@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_locations_format_and_parse(numbers):
    assert (parse_locations(format_locations(numbers)).resolve(40) + 1).tolist() == numbers


@quick
@given(st.binary(min_size=1024, max_size=1024))
def test_swapping_twice_changes_nothing(raw):
    h = np.frombuffer(raw, np.uint8).view(hdr.HEADER_DTYPE)
    once = hdr.swap_words(h)
    assert hdr.swap_words(once).tobytes() == raw
    for name in hdr.CHARACTER:
        offset, size = hdr.HEADER_DTYPE.fields[name][1], hdr.HEADER_DTYPE[name].itemsize
        assert once.tobytes()[offset : offset + size] == raw[offset : offset + size]
