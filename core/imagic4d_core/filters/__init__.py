"""Filters in Fourier space."""
