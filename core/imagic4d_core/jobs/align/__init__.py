"""Alignment in the plane, and class averages from it."""
