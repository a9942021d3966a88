"""Arithmetic on densities, images with images, normalisation, local and radial statistics."""
