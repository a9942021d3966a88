"""Multivariate statistical analysis, classification in its coordinates, class averages."""
