"""Multivariate statistical analysis: metrics, eigenimages, coordinates, classification."""
