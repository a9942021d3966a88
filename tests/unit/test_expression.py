"""Formulas of a command line: values, messages with a place, and attacks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imagic4d_core.errors import InputError
from imagic4d_core.expression import FUNCTIONS, MAX_LENGTH, Expression

A = np.array([[-2.0, 0.5, 3.0], [7.0, -0.25, 1.0]], np.float32)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("clip(a, 0, 5) * 2", np.clip(A, 0, 5) * 2),
        ("a", A),
        ("-a + 2*a - a/4", -A + 2 * A - A / 4),
        ("a**2 // 1 % 3", (A**2) // 1 % 3),
        ("where(a > 1, a, 0)", np.where(A > 1, A, 0)),
        ("a if a > 1 else 0", np.where(A > 1, A, 0)),
        ("0 < a <= 3", (A > 0) & (A <= 3)),
        ("not a > 1 or a == 7", ~(A > 1) | (A == 7)),
        ("min(a, 1, 2*a)", np.minimum(np.minimum(A, 1), 2 * A)),
        ("max(a, 0)", np.maximum(A, 0)),
        ("sqrt(abs(a)) + exp(a) + log(abs(a)) + round(a)", np.sqrt(abs(A)) + np.exp(A) + np.log(abs(A)) + np.rint(A)),
        ("SIGN(a) * pi", np.sign(A) * np.float32(np.pi)),
        ("hypot(a, 3) + arctan2(a, 2)", np.hypot(A, np.float32(3)) + np.arctan2(A, np.float32(2))),
    ],
)
def test_values_are_those_of_numpy(text, value):
    found = Expression.parse(text, ["a"])(a=A)
    np.testing.assert_allclose(found, value, rtol=1e-6)
    assert found.dtype == (np.bool_ if value.dtype == bool else np.float32)  # float32 stays float32


def test_every_function_can_be_called():
    for name, function in FUNCTIONS.items():
        text = f"{name}({', '.join(['a'] * function.least)})"
        assert Expression.parse(text, ["a"])(a=A).shape == A.shape


def test_names_in_any_case_and_texts():
    e = Expression.parse("ccc > 0.3 and Ref3D == 2", ["CCC", "REF3D", "TYPE"])
    assert e.names == {"CCC", "REF3D"}
    found = e(CCC=np.float32([0.2, 0.4, 0.5]), REF3D=np.int32([2, 2, 1]), TYPE=0)
    assert found.tolist() == [False, True, False]
    types = np.array([b"REAL", b"PACK"])
    assert Expression.parse("type == 'REAL '", ["TYPE"])(TYPE=types).tolist() == [True, False]
    assert Expression.parse("type != 'REAL'", ["TYPE"])(TYPE=types).tolist() == [False, True]
    assert Expression.parse("ccc == 'x'", ["CCC"])(CCC=np.ones(2)).tolist() == [False, False]
    # integers do not overflow
    assert Expression.parse("n * n", ["n"])(n=np.int32([2**30])).tolist() == [2.0**60]
    assert Expression.parse("2*3").names == frozenset() and Expression.parse("2*3")() == 6
    assert Expression.parse("foo + Foo").names == {"foo", "Foo"}
    with pytest.raises(ValueError, match="no values for a"):
        Expression.parse("a")()


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("", None, "empty"),
        ("x +", "its end|character", "not a formula"),
        ("a = 3", "character 3", "write =="),
        ("a & b", "character 1", "'and'"),
        ("a ^ 2", "character 1", r"\*\*"),
        ("2 + a.real", "character 5", "attribute"),
        ("1 + b", "character 5 .'b'", "b is not a known name; known: a"),
        ("2 * min(a)", "character 5", "min takes 2 or more"),
        ("clip(a, 1)", "character 1", "clip takes 3"),
        ("a + sqrt", "character 5", "needs its arguments"),
        ("'text'", "character 1", "beside =="),
        ("a + 'text'", "character 5", "beside =="),
        ("'x' == 'x'", "character 1", "fixed"),
        ("1 < a < 'x'", "character 1", "beside =="),
        ("a is 3", "character 6", "compare"),
        ("1 / 0", "character 1", "finite"),
        ("sqrt(-1)", "character 1", "finite"),
        ("1e999", "character 1", "finite"),
        ("9" * 900, "character 1", "finite"),
        ("1j", "character 1", "finite real"),
        ("a " + "+ a" * MAX_LENGTH, None, "characters"),
    ],
)
def test_mistakes_name_the_place(text, place, why):
    with pytest.raises(InputError, match=why) as caught:
        Expression.parse(text, ["a"])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    if place:
        import re

        assert re.search(place, str(caught.value))


def test_the_place_counts_characters_not_bytes():
    with pytest.raises(InputError, match="character 6 "):
        Expression.parse("ä + (b.c)", ["ä", "b"])


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')", "().__class__.__bases__[0]", "a.__class__", "a[0]", "(lambda: 1)()", "[x for x in a]",
        "{1: 2}", "{1}", "(1, 2)", "f'{a}'", "a := 3", "(a := 3)",
        "eval('1')", "open('x')", "print(a)", "abs(*a)", "abs(x=a)",
        "sqrt.__call__(a)", "(sqrt)(a)(a)", "await a", "yield a", "a; a", "import os", "9**9**9**9**9", "10**10**10",
        "~a", "a @ a", "a << 2",
        "b'x' == a", "...", "None", "a in a", "clip", "(" * 300 + "a" + ")" * 300, "-" * 900 + "a", "+".join(["a"] * 400),
        "\0", "a\\", "'",
        "not " * 200 + "a",
    ],
)  # fmt: skip
def test_attacks_are_refused(text):
    with pytest.raises(InputError):
        Expression.parse(text, ["a"])


def test_powers_stay_floating_point():
    assert np.isinf(Expression.parse("a ** 9 ** 9", ["a"])(a=np.float64(2)))


@settings(deadline=None)
@given(st.text(alphabet="a1.+-*/%<>=()!,'\" []{}:@&|~sqrtclip\n\\ä", max_size=60))
def test_any_text_is_a_formula_or_an_input_error(text):
    try:
        e = Expression.parse(text, ["a"])
    except InputError:
        return
    assert np.shape(e(a=A)) in ((), A.shape)


@settings(deadline=None)
@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))
def test_precedence_is_that_of_python(x, y, z):
    for text in ("x - y * z + -x ** 2", "(x - y) * z", "x < y + z", "not x < y and y < z or x > z"):
        expected = eval(text, {"x": x, "y": y, "z": z})
        assert Expression.parse(text)(x=x, y=y, z=z) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text", ["a + b", "a * (a - b)", "clip(a, 0, 1)", "a", "3", "a > b", "not a > b", "b", "where(a > 0, b, a) - a", "d * 2"]
)
def test_the_value_may_take_the_memory_of_an_array(text):
    rng = np.random.default_rng(1)
    a, b, d = rng.standard_normal((6, 5)).astype("f4"), rng.standard_normal((6, 1)).astype("f4"), rng.standard_normal((1, 5))
    formula = Expression.parse(text)
    into = a.copy()
    found = formula(into, a=into, b=b, d=d)
    assert found is into
    np.testing.assert_array_equal(into, np.broadcast_to(formula(a=a, b=b, d=d), a.shape).astype("f4"))
