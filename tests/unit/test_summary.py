"""3Ds that repeat another one are named, true states are not."""

import numpy as np
import pytest

from imagic4d_core.geometry.euler import matrix_from_euler
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.stack import write_stack
from imagic4d_core.jobs.scheme.summary import duplicates
from imagic4d_core.models import random_family, volume


@pytest.mark.parametrize("same", [True, False])
def test_duplicates(tmp_path, same):
    """A turned copy repeats; a related structure does not, though its images hardly prefer it."""
    first, other = random_family(3, 2, 32)
    turn = matrix_from_euler(40.0, 65.0, 120.0)
    second = (first if same else other).rotated(turn)
    write_stack(tmp_path / "volumes.hed", np.stack([volume(first, 32), volume(second, 32)]))
    poses = Poses.blank(30)
    poses.ref3d[:] = np.where(np.arange(30) < 20, 1, 2)
    poses.ref3d2[:] = 3 - poses.ref3d
    poses.margin[:] = 0.1
    curve = np.linspace(1.0, 0.9, 17)
    assert duplicates(tmp_path, poses, [curve, curve]) == ({2: 1} if same else {})
    poses.margin[:] = 3.0  # images that clearly prefer their 3D: nothing is laid on anything
    assert duplicates(tmp_path, poses, [curve, curve]) == {}
