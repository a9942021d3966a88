"""MSA in three dimensions: a mean 3D, eigenvolumes, and coordinates of images that are projections of their sum.

Model: ``X_i = s_i C_i P_i (V_0 + sum_k z_ik E_k) + noise``, with poses P_i from a consensus 3D, CTF C_i, strength s_i and
noise of its own power in every ring (probabilistic principal components of volumes seen in projection: Tagare et al. 2015,
doi:10.1016/j.jsb.2015.05.007; Punjani & Fleet 2021, doi:10.1016/j.jsb.2021.107702).

`views`: the images; `sums`: weighted reconstructions; `rounds`: eigenvolumes and coordinates by turns; `judging`: how many are
above the noise; `splitting`: classes that are stable; `turning`: poses in the light of the coordinates.
"""
