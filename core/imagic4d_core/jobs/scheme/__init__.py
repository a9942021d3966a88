"""The 4D scheme: 3Ds, Euler angles and memberships by turns."""
