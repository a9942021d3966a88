"""The alignment jobs, file to file: header words, originals, 3D membership, guards against noise."""

import numpy as np
import pytest
from oracle import align as oracle

from imagic4d_core.align.moving import Maps, moved
from imagic4d_core.errors import InputError, MismatchError, UsageError
from imagic4d_core.geometry.euler import angular_distance, random_rotations
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import TAG, blank_headers
from imagic4d_core.io.stack import read_stack, write_stack
from imagic4d_core.jobs.align.align_parallel import align_parallel
from imagic4d_core.jobs.align.align_refs import align_refs
from imagic4d_core.jobs.align.mra import mra

BOX, N, KINDS = 32, 36, 3


def maps_of(n, seed, reach=2.0):
    rng = np.random.default_rng(seed)
    return Maps.of(rng.uniform(-np.pi, np.pi, n), rng.uniform(-reach, reach, (n, 2)), rng.integers(0, 2, n).astype(bool))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Moved, noisy pictures of three references (3D 1, 1, 2), and what brings them back."""
    d = tmp_path_factory.mktemp("mra")
    models = [oracle.blobs(k) for k in range(KINDS)]
    refs = np.array([oracle.draw(BOX, m) for m in models])
    h = blank_headers(KINDS, BOX, BOX)
    h["REF3D"] = [1, 1, 2]
    write_stack(d / "refs.hed", refs, h)
    true, kind = maps_of(N, 1), np.arange(N) % KINDS
    back = true.inverse()
    images = np.array([oracle.draw(BOX, models[c], a, t) for c, a, t in zip(kind, back.linear, back.offset, strict=True)])
    images += 0.1 * np.random.default_rng(2).normal(size=images.shape).astype(np.float32)
    h = blank_headers(N, BOX, BOX)
    h["REF3D"] = np.where(kind == 2, 1, 2)  # all wrong
    write_stack(d / "images.hed", images, h)
    return d, true, kind, refs


def test_result_header_and_pixels(data, tmp_path):
    d, true, kind, refs = data
    s = mra(d / "images.hed", d / "refs.hed", tmp_path / "out.hed", max_shift=5.0)
    out, h = read_stack(tmp_path / "out.hed")
    assert s.aligned == N and s.mirrored == (np.linalg.det(true.linear) < 0).sum() and not s.warnings
    assert (h["REF"] == kind + 1).all() and (h["CCC"] > 0.8).all()
    total = Maps.from_headers(h)
    rest = true.inverse().then(total)
    assert np.rad2deg(np.abs(rest.parts()[0])).max() < 2 and np.hypot(*rest.offset.T).max() < 0.3
    assert (h["IM4DTAG"] == TAG).all()
    # one interpolation of the input with exactly these moves
    np.testing.assert_allclose(out, moved(read_stack(d / "images.hed")[0], total), atol=1e-3)
    assert min(np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(out, refs[kind], strict=True)) > 0.85
    # 3D of the best reference, the one before, its similarity
    assert (h["REF3D"] == np.array([1, 1, 2])[kind]).all() and (h["REF3DOLD"] == np.where(kind == 2, 1, 2)).all()
    np.testing.assert_array_equal(h["CCC3D"], h["CCC"])
    assert s.numbers_3d == [1, 2] and s.sizes_3d == [24, 12] and s.moved_3d == 1.0
    # the run's own move is the whole one, as there was none before
    assert np.allclose(h["ANGLE"], h["EANGLE"]) and np.allclose(h["XSHIFT"], h["EXSHIFT"])
    assert s.lines() and s.as_dict()["evidence"]["z"] > 5


def test_own_ref3d_stays_with_its_3d(data, tmp_path):
    d, _, kind, _ = data
    s = mra(d / "images.hed", d / "refs.hed", tmp_path / "out.hed", max_shift=5.0, use="own-ref3d")
    h = read_stack(tmp_path / "out.hed")[1]
    assert (h["REF3D"] == np.where(kind == 2, 1, 2)).all() and not h["REF3DOLD"].any()
    assert (h["REF"][kind != 2] == 3).all() and (h["REF"][kind == 2] < 3).all()
    assert s.moved_3d == 0.0 and (h["CCC3D"] > 0).all()


def test_references_of_one_3d_leave_membership_alone(data, tmp_path):
    d, _, kind, refs = data
    write_stack(tmp_path / "plain.hed", refs)
    mra(d / "images.hed", tmp_path / "plain.hed", tmp_path / "out.hed", max_shift=5.0)
    h = read_stack(tmp_path / "out.hed")[1]
    assert (h["REF3D"] == np.where(kind == 2, 1, 2)).all() and not h["CCC3D"].any()


def test_originals_are_interpolated_once(data, tmp_path):
    d, true, _, _ = data
    mra(d / "images.hed", d / "refs.hed", tmp_path / "one.hed", max_shift=5.0)
    first = Maps.from_headers(read_stack(tmp_path / "one.hed")[1])
    mra(
        tmp_path / "one.hed", d / "refs.hed", tmp_path / "two.hed", from_originals=d / "images.hed", max_shift=5.0, run_shift=1.5,
        run_range=(-12.0, 12.0), mirror=False,
    )  # fmt: skip
    out, h = read_stack(tmp_path / "two.hed")
    total = Maps.from_headers(h)
    np.testing.assert_allclose(out, moved(read_stack(d / "images.hed")[0], total), atol=1e-3)
    rest = true.inverse().then(total)
    assert np.rad2deg(np.abs(rest.parts()[0])).max() < 2
    run = first.inverse().then(total)
    assert np.abs(h["ANGLE"]).max() <= 12.001
    np.testing.assert_allclose(np.abs(h["ANGLE"]), np.abs(np.rad2deg(run.parts()[0])), atol=1e-3)
    # the same from the moved images: total moves add up, with two interpolations
    mra(tmp_path / "one.hed", d / "refs.hed", tmp_path / "three.hed", max_shift=5.0, run_shift=1.5, mirror=False)
    again = Maps.from_headers(read_stack(tmp_path / "three.hed")[1])
    assert np.rad2deg(np.abs(true.inverse().then(again).parts()[0])).max() < 3


def test_shift_still_to_be_applied_is_the_start(data, tmp_path):
    d, true, _, _ = data
    images, h = read_stack(d / "images.hed")
    poses = Poses.from_headers(h)
    angle, shift, mirrored = true.parts()
    poses.shift = np.where(mirrored[:, None], shift @ np.diag([1.0, -1.0]), shift)
    poses.set_matrices(random_rotations(np.random.default_rng(1), N))
    write_stack(tmp_path / "pending.hed", images, poses.into_headers(h))
    s = mra(tmp_path / "pending.hed", d / "refs.hed", tmp_path / "out.hed", run_shift=0.0, max_shift=5.0)
    out = read_stack(tmp_path / "out.hed")[1]
    assert not out["RXSHIFT"].any() and not out["RYSHIFT"].any() and s.shift_rms < 1e-6
    rest = true.inverse().then(Maps.from_headers(out))
    assert np.rad2deg(np.abs(rest.parts()[0])).max() < 2 and np.hypot(*rest.offset.T).max() < 1e-3
    moved_poses = Maps.from_headers(out).move_poses(poses.matrices())
    assert angular_distance(Poses.from_headers(out).matrices(), moved_poses).max() < 0.01


def test_inactive_images_and_locations(data, tmp_path):
    d, _, kind, _ = data
    images, h = read_stack(d / "images.hed")
    h["ACTIVE"][::2] = -1
    write_stack(tmp_path / "some.hed", images, h)
    s = mra(tmp_path / "some.hed", d / "refs.hed", tmp_path / "out.hed", max_shift=5.0)
    out, after = read_stack(tmp_path / "out.hed")
    assert s.aligned == N // 2 and np.array_equal(out[::2], images[::2]) and not after["REF"][::2].any()
    assert (after["REF"][1::2] == kind[1::2] + 1).all()
    s = mra(f"{d / 'images.hed'},4,9", d / "refs.hed", tmp_path / "part.hed", max_shift=5.0)
    assert s.images == 6 and (read_stack(tmp_path / "part.hed")[1]["REF"] == kind[3:9] + 1).all()


def test_many_references_in_small_banks(data, tmp_path, monkeypatch):
    from imagic4d_core.jobs.align import mra_work

    d, *_ = data
    mra(d / "images.hed", d / "refs.hed", tmp_path / "a.hed", max_shift=5.0)
    monkeypatch.setattr(mra_work, "BANK_BYTES", 1)
    mra(d / "images.hed", d / "refs.hed", tmp_path / "b.hed", max_shift=5.0)
    a, b = read_stack(tmp_path / "a.hed"), read_stack(tmp_path / "b.hed")
    assert np.array_equal(a[1]["REF"], b[1]["REF"])
    np.testing.assert_allclose(a[0], b[0], atol=1e-3)


def test_weighing_by_the_ctf(tmp_path):
    from imagic4d_core.jobs.scheme.forward import forward
    from imagic4d_core.jobs.truth.modelling import threed_test
    from imagic4d_core.jobs.truth.simulate import simulate

    threed_test(tmp_path / "v.hed", number=1, size=32, seed=3)
    simulate(tmp_path / "v.hed", tmp_path / "i.hed", images=24, ctf=True, snr=0.03, seed=1, truth=tmp_path / "t.hed")
    forward(tmp_path / "v.hed", tmp_path / "p.hed", angles_from=str(tmp_path / "t.hed"))
    score = {}
    for weigh in (False, True):
        s = align_parallel(tmp_path / "i.hed", tmp_path / "p.hed", tmp_path / f"{weigh}.hed", weigh_ctf=weigh, max_shift=3.0)
        h = read_stack(tmp_path / f"{weigh}.hed")[1]
        score[weigh] = (np.abs(h["EANGLE"]) < 8).mean()
        assert s.aligned == 24
    assert score[True] >= 0.8 and score[True] > score[False]


# guards


def face(box=32):
    """A picture: head, eyes, nose, mouth."""
    x = (np.arange(box) - box // 2) * 64 / box
    a, b = np.meshgrid(x, x, indexing="ij")

    def disc(ca, cb, ra, rb):
        return 1 / (1 + np.exp((np.hypot((a - ca) / ra, (b - cb) / rb) - 1) * min(ra, rb)))

    out = disc(0, 0, 22, 17) + 0.8 * disc(-20, 3, 6, 13)
    out -= 1.2 * (disc(-6, -7, 3, 4) + disc(-6, 7, 3, 4)) + 0.7 * disc(2, 0, 5, 2) + disc(10, 2, 3, 8)
    return out.astype(np.float32)


def test_noise_aligned_to_a_face(tmp_path):
    """The plain option gives the face back and warns; the safe one leaves noise as noise."""
    picture = face()
    write_stack(tmp_path / "face.hed", picture[None])
    noise = np.random.default_rng(5).normal(size=(400, 32, 32)).astype(np.float32)
    write_stack(tmp_path / "noise.hed", noise)
    plain = mra(tmp_path / "noise.hed", tmp_path / "face.hed", tmp_path / "plain.hed", seed=1)
    safe = mra(tmp_path / "noise.hed", tmp_path / "face.hed", tmp_path / "safe.hed", seed=1, safe=True)
    like = [
        np.corrcoef(read_stack(tmp_path / f"{name}.hed")[0].mean(0).ravel(), picture.ravel())[0, 1] for name in ("plain", "safe")
    ]
    assert like[0] > 0.3 and abs(like[1]) < 0.1
    assert any("no sign" in w and "--safe" in w for w in plain.warnings)
    assert safe.aligned == 0 and any("nothing was aligned" in w for w in safe.warnings)
    # images that do hold the face are aligned, safe or not
    true = maps_of(100, 3, 1.0)
    write_stack(tmp_path / "real.hed", moved(np.repeat(picture[None], 100, 0), true.inverse()) + 0.5 * noise[:100])
    found = mra(tmp_path / "real.hed", tmp_path / "face.hed", tmp_path / "found.hed", seed=1, safe=True)
    assert found.aligned == 100 and not found.warnings


def test_references_of_the_same_noise(tmp_path):
    """Class sums of noise: the plain option is drawn to each image's own class and says so; the safe one is not."""
    rng = np.random.default_rng(1)
    images = rng.normal(size=(120, 32, 32)).astype(np.float32)
    h = blank_headers(120, 32, 32)
    h["CLASSNO"] = np.arange(120) % 24 + 1
    write_stack(tmp_path / "images.hed", images, h)
    sums = np.array([images[h["CLASSNO"] == k + 1].mean(0) for k in range(24)])
    r = blank_headers(24, 32, 32)
    r["NUMCLS"] = 5
    write_stack(tmp_path / "sums.hed", sums, r)
    plain = mra(tmp_path / "images.hed", tmp_path / "sums.hed", tmp_path / "plain.hed", seed=1)
    safe = mra(tmp_path / "images.hed", tmp_path / "sums.hed", tmp_path / "safe.hed", seed=1, safe=True)
    own = (read_stack(tmp_path / "plain.hed")[1]["REF"] == h["CLASSNO"]).mean()
    assert own > 0.8
    assert any("sums of these very images" in w for w in plain.warnings)
    assert safe.aligned == 0 and any("no sign" in w for w in safe.warnings)
    sums = sums[::-1]
    write_stack(tmp_path / "wrong.hed", np.ascontiguousarray(sums), r)
    with pytest.raises(MismatchError, match="does not look like the mean"):
        mra(tmp_path / "images.hed", tmp_path / "wrong.hed", tmp_path / "x.hed", seed=1, safe=True)


def test_safe_with_sums_of_real_images(data, tmp_path):
    d, true, kind, refs = data
    aligned = moved(read_stack(d / "images.hed")[0], true)
    h = blank_headers(N, BOX, BOX)
    h["CLASSNO"] = kind + 1
    write_stack(tmp_path / "aligned.hed", aligned, h)
    r = blank_headers(KINDS, BOX, BOX)
    r["NUMCLS"] = N // KINDS
    write_stack(tmp_path / "sums.hed", np.array([aligned[kind == k].mean(0) for k in range(KINDS)]), r)
    s = mra(tmp_path / "aligned.hed", tmp_path / "sums.hed", tmp_path / "out.hed", seed=1, safe=True)
    out = read_stack(tmp_path / "out.hed")[1]
    assert s.aligned == N and not s.warnings and s.own_word == "CLASSNO"
    assert (out["REF"] == kind + 1).all() and np.abs(out["EANGLE"]).max() < 3


# the other two


def test_align_parallel(data, tmp_path):
    d, true, kind, refs = data
    write_stack(tmp_path / "mine.hed", refs[kind])
    s = align_parallel(d / "images.hed", tmp_path / "mine.hed", tmp_path / "out.hed", mirror=True, max_shift=5.0)
    h = read_stack(tmp_path / "out.hed")[1]
    rest = true.inverse().then(Maps.from_headers(h))
    assert np.rad2deg(np.abs(rest.parts()[0])).max() < 2
    assert (h["REF"] == np.arange(N) + 1).all() and s.aligned == N and not s.warnings and s.lines()
    write_stack(tmp_path / "few.hed", refs)
    with pytest.raises(MismatchError, match="one reference for each image"):
        align_parallel(d / "images.hed", tmp_path / "few.hed", tmp_path / "x.hed")


def test_align_parallel_centres_references_that_lie_as_their_images(data, tmp_path):
    """Re-projections of recon lie as their images do, and say so in words 80 and 81: the images must still end in the centre."""
    d, true, kind, refs = data
    shift = np.random.default_rng(5).uniform(-3, 3, (N, 2))
    displaced = np.array([oracle.draw(BOX, oracle.blobs(k), np.eye(2), -s) for k, s in zip(kind, shift, strict=True)])
    poses = Poses.blank(N)
    poses.shift[:] = shift
    write_stack(tmp_path / "mine.hed", displaced, poses.into_headers(blank_headers(N, BOX, BOX)))
    align_parallel(d / "images.hed", tmp_path / "mine.hed", tmp_path / "out.hed", mirror=True, max_shift=5.0)
    rest = true.inverse().then(Maps.from_headers(read_stack(tmp_path / "out.hed")[1]))
    assert np.hypot(*rest.offset.T).max() < 0.4 and np.rad2deg(np.abs(rest.parts()[0])).max() < 2


def test_align_refs(tmp_path):
    model, true = oracle.blobs(2), maps_of(7, 4, 1.5)
    refs = np.array([oracle.draw(BOX, model, a, t) for a, t in zip(true.linear, true.offset, strict=True)])
    write_stack(tmp_path / "refs.hed", refs)
    s = align_refs(tmp_path / "refs.hed", tmp_path / "out.hed", mirror=True, max_shift=6.0)
    out, h = read_stack(tmp_path / "out.hed")
    like = np.corrcoef(out.reshape(7, -1))
    assert like.min() > 0.98 and s.after > s.before and s.after > 0.98 and s.iterations <= 5
    common = true.then(Maps.from_headers(h))
    step = common.inverse().then(Maps(np.repeat(common.linear[:1], 7, 0), np.repeat(common.offset[:1], 7, 0)))
    assert np.rad2deg(np.abs(step.parts()[0])).max() < 1.0 and (np.linalg.det(step.linear) > 0).all()
    assert s.lines() and s.as_dict()["images"] == 7


# bad input


def test_refusals(data, tmp_path):
    d, _, _, refs = data
    args = (d / "images.hed", d / "refs.hed", tmp_path / "x.hed")
    for how, words in (
        ({"search": "sideways"}, "unknown"), ({"correlation": "xyz"}, "unknown"), ({"use": "some"}, "unknown"),
        ({"radii": (0.5, 0.2)}, "first must be smaller"), ({"radii": (0.5,)}, "two numbers"),
        ({"rotation_range": (20.0, 10.0)}, "smaller first"), ({"run_range": (-200.0, 10.0)}, "-180 to 180"),
        ({"iterations": 0}, "at least 1"), ({"too_far": "x"}, "unknown"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=words):
            mra(*args, **how)
    write_stack(tmp_path / "small.hed", refs[:, :24, :24].copy())
    write_stack(tmp_path / "wide.hed", refs[:, :24].copy())
    write_stack(tmp_path / "plain.hed", refs)
    write_stack(tmp_path / "flat.hed", np.ones_like(refs))
    write_stack(tmp_path / "other.hed", refs, pixel_size=3.0)
    write_stack(tmp_path / "one.hed", refs[:1])
    write_stack(tmp_path / "pixels.hed", read_stack(d / "images.hed")[0], pixel_size=2.0)
    for bad, words in (("small", "box 24"), ("wide", "square")):
        with pytest.raises(MismatchError, match=words):
            mra(args[0], tmp_path / f"{bad}.hed", args[2])
    with pytest.raises(InputError, match="constant"):
        mra(args[0], tmp_path / "flat.hed", args[2])
    with pytest.raises(MismatchError, match="no 3D membership"):
        mra(args[0], tmp_path / "plain.hed", args[2], use="own-ref3d")
    with pytest.raises(MismatchError, match="image 1 has 3D membership 0"):
        mra(tmp_path / "pixels.hed", args[1], args[2], use="own-ref3d")
    with pytest.raises(MismatchError, match="angstrom per pixel"):
        mra(tmp_path / "pixels.hed", tmp_path / "other.hed", args[2])
    with pytest.raises(MismatchError, match="very same images"):
        mra(*args, from_originals=tmp_path / "one.hed")
    with pytest.raises(UsageError, match="--loc"):
        from imagic4d_core.io.locations import parse_locations

        mra(*args, from_originals=d / "images.hed", loc=parse_locations("1-3"))
    with pytest.raises(InputError, match="pixel size"):
        mra(*args, weigh_ctf=True)
    with pytest.raises(InputError, match="no defocus"):
        mra(tmp_path / "pixels.hed", args[1], args[2], weigh_ctf=True)
    h = blank_headers(N, BOX, BOX)
    h["ACTIVE"] = -1
    write_stack(tmp_path / "idle.hed", read_stack(d / "images.hed")[0], h)
    with pytest.raises(InputError, match="inactive"):
        mra(tmp_path / "idle.hed", args[1], args[2])
    with pytest.raises(InputError, match="two at least"):
        align_refs(tmp_path / "one.hed", args[2])
    with pytest.raises(InputError, match="constant"):
        align_refs(tmp_path / "flat.hed", args[2])
    assert not args[2].exists()
