"""3D reconstruction: direct Fourier inversion and exact-filter back-projection."""
