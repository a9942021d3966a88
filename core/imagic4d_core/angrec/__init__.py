"""Angular reconstitution: Euler angles, shifts and 3D membership of images against anchor sets."""
