"""How evenly views cover a 3D."""
