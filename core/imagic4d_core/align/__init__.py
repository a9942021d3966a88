"""Alignment in the plane: centring."""
