"""CTF correction: signs against simulated images, parameters from headers and STAR files."""

import numpy as np
import pytest

from imagic4d_core.ctf.parameters import CtfParameters, correction
from imagic4d_core.ctf.transfer import ctf, frequency_grid
from imagic4d_core.errors import InputError, MismatchError, UsageError
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import open_stack, read_stack, write_stack
from imagic4d_core.jobs.images.ctf import ctf_correct
from imagic4d_core.jobs.scheme.forward import forward
from imagic4d_core.jobs.truth.modelling import threed_test
from imagic4d_core.jobs.truth.simulate import simulate


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Images with a CTF and hardly any noise, and the projections they were made of."""
    d = tmp_path_factory.mktemp("ctf")
    threed_test(d / "volumes.hed", number=1, size=33, seed=1)
    simulate(d / "volumes.hed", d / "images.hed", images=12, ctf=True, snr=1000.0, seed=3, truth=d / "truth.hed")
    forward(d / "volumes.hed", d / "projections.hed", angles_from=str(d / "truth.hed"))
    return d


def likeness(a, b):
    return np.array([np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)])


def test_corrections_bring_images_nearer_to_projections(data, tmp_path):
    images, projections = read_stack(data / "images.hed")[0], read_stack(data / "projections.hed")[0]
    found = {"none": likeness(images, projections).mean()}
    for how in ("phase-flip", "wiener", "multiply"):
        ctf_correct(data / "images.hed", tmp_path / f"{how}.hed", correct=how, noise_to_signal=0.02)
        out, headers = read_stack(tmp_path / f"{how}.hed")
        found[how] = likeness(out, projections).mean()
        assert (headers["CTFDONE"] == {"phase-flip": 1, "wiener": 2, "multiply": 3}[how]).all()
    assert found["none"] < found["phase-flip"] < found["wiener"]
    assert found["wiener"] > 0.9 and found["none"] < 0.8


def test_every_ring_has_its_sign(data, tmp_path):
    ctf_correct(data / "images.hed", tmp_path / "flipped.hed")
    out, projections = read_stack(tmp_path / "flipped.hed")[0], read_stack(data / "projections.hed")[0]
    a, b = np.fft.rfft2(out), np.fft.rfft2(projections)
    frequency, _ = frequency_grid((33, 33), 4.0)
    with open_stack(data / "images.hed") as stack:
        transfer = CtfParameters.from_headers(stack.headers(), "x").transfer((33, 33), stack.pixel_size)
    strong = (np.abs(transfer) > 0.3) & (np.abs(b) > np.quantile(np.abs(b), 0.7)) & (frequency > 0)
    assert ((a * np.conj(b)).real[strong] > 0).mean() > 0.995


def test_astigmatism_follows_the_axis():
    h = blank_headers(2)
    h["DEFOCUS1"], h["DEFOCUS2"], h["DEFANGLE"], h["VOLTAGE"], h["SPABERR"] = 20000, 10000, [0, 90], 300, 2.7
    t = CtfParameters.from_headers(h, "x").transfer((32, 32), 3.0)
    k = np.array([1, 5, 9]) / 32 / 3.0
    # along the axis the first defocus: the lines (x) for 0 degrees, the pixels of a line (y) for 90
    first, second = ctf(k, 20000.0), ctf(k, 10000.0)
    np.testing.assert_allclose(t[0, [1, 5, 9], 0], first, atol=1e-5)
    np.testing.assert_allclose(t[0, 0, [1, 5, 9]], second, atol=1e-5)
    np.testing.assert_allclose(t[1, 0, [1, 5, 9]], first, atol=1e-5)


def test_volts_and_kilovolts_and_one_defocus():
    h = blank_headers(3)
    h["DEFOCUS1"], h["DEFOCUS2"], h["VOLTAGE"] = 15000, [15000, 0, 15000], [300, 300000, 300]
    p = CtfParameters.from_headers(h, "x")
    assert p.voltage_kv.tolist() == [300, 300, 300] and p.defocus2.tolist() == [15000] * 3
    assert CtfParameters.from_headers(h, "x", voltage_kv=200.0, cs_mm=1.0).voltage_kv.tolist() == [200] * 3


def test_factors():
    t = np.array([[-0.5, 0.0, 0.8]], np.float32)
    assert correction(t, "phase-flip").tolist() == [[-1, 1, 1]]
    np.testing.assert_allclose(correction(t, "wiener", 0.1), t / (t * t + 0.1))
    assert correction(t, "multiply") is t
    with pytest.raises(ValueError, match="unknown"):
        correction(t, "divide")


STAR = """data_
loop_
_rlnImageName #1
_rlnDefocusU #2
_rlnDefocusV #3
_rlnDefocusAngle #4
_rlnVoltage #5
_rlnSphericalAberration #6
"""


def test_star_gives_the_same_as_the_header(data, tmp_path):
    headers = read_stack(data / "images.hed")[1]
    bare = headers.copy()
    for name in ("DEFOCUS1", "DEFOCUS2", "VOLTAGE", "SPABERR"):
        bare[name] = 0
    write_stack(tmp_path / "bare.hed", read_stack(data / "images.hed")[0], bare, pixel_size=4.0)
    rows = [f"{i + 1:06d}@bare.mrcs {float(h['DEFOCUS1'])} {float(h['DEFOCUS2'])} 0 300 2.7" for i, h in enumerate(headers)]
    (tmp_path / "p.star").write_text(STAR + "\n".join(rows[::-1]) + "\n")  # in another order: names count
    ctf_correct(tmp_path / "bare.hed", tmp_path / "a.hed", star=tmp_path / "p.star")
    ctf_correct(data / "images.hed", tmp_path / "b.hed")
    np.testing.assert_allclose(read_stack(tmp_path / "a.hed")[0], read_stack(tmp_path / "b.hed")[0], atol=1e-6)
    np.testing.assert_allclose(read_stack(tmp_path / "a.hed")[1]["DEFOCUS1"], headers["DEFOCUS1"], rtol=1e-6)
    ctf_correct(f"{tmp_path}/bare.hed,3,4", tmp_path / "c.hed", star=tmp_path / "p.star")
    np.testing.assert_allclose(read_stack(tmp_path / "c.hed")[0], read_stack(tmp_path / "a.hed")[0][2:4], atol=1e-6)
    (tmp_path / "q.star").write_text(STAR + "\n".join(r.replace("bare", "other") for r in rows) + "\n")
    ctf_correct(tmp_path / "bare.hed", tmp_path / "d.hed", star=tmp_path / "q.star")  # as many rows: by order
    np.testing.assert_allclose(read_stack(tmp_path / "d.hed")[0], read_stack(tmp_path / "a.hed")[0], atol=1e-6)
    (tmp_path / "r.star").write_text(STAR + "\n".join(rows[:5]) + "\n")
    with pytest.raises(MismatchError, match="nothing of image 6"):
        ctf_correct(tmp_path / "bare.hed", tmp_path / "e.hed", star=tmp_path / "r.star")
    (tmp_path / "s.star").write_text(STAR + "\n".join(r.replace("bare", "other") for r in rows[:5]) + "\n")
    with pytest.raises(MismatchError, match="none of them"):
        ctf_correct(tmp_path / "bare.hed", tmp_path / "e.hed", star=tmp_path / "s.star")
    assert not (tmp_path / "e.hed").exists()


def test_refusals(data, tmp_path):
    ctf_correct(data / "images.hed", tmp_path / "once.hed")
    with pytest.raises(InputError, match="already"):
        ctf_correct(tmp_path / "once.hed", tmp_path / "twice.hed")
    ctf_correct(tmp_path / "once.hed", tmp_path / "twice.hed", again=True)
    images = read_stack(data / "images.hed")[0]
    np.testing.assert_allclose(read_stack(tmp_path / "twice.hed")[0], images, atol=1e-5)
    write_stack(tmp_path / "plain.hed", images)
    with pytest.raises(InputError, match="pixel size"):
        ctf_correct(tmp_path / "plain.hed", tmp_path / "x.hed")
    with pytest.raises(InputError, match="no defocus"):
        ctf_correct(tmp_path / "plain.hed", tmp_path / "x.hed", pixel_size=4.0)
    with pytest.raises(UsageError, match="above 0"):
        ctf_correct(data / "images.hed", tmp_path / "x.hed", noise_to_signal=0.0)
    with pytest.raises(MismatchError, match="volumes"):
        ctf_correct(data / "volumes.hed", tmp_path / "x.hed")
    assert not (tmp_path / "x.hed").exists()


def test_real_particles(shared_data, tmp_path):
    """EMPIAR-10076: the phases flipped with the STAR file's defocus."""
    src = shared_data / "particles" / "empiar_10076_7.mrc"
    ctf_correct(src, tmp_path / "flipped.hed", star=src.with_suffix(".star"), pixel_size=1.31)
    out, headers = read_stack(tmp_path / "flipped.hed")
    assert out.shape == (7, 320, 320) and np.isfinite(out).all()
    assert (headers["DEFOCUS1"] > 5000).all() and (headers["CTFDONE"] == 1).all()
