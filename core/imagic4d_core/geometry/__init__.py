"""Rotations, Euler angles, poses, point groups and directions on the sphere."""
