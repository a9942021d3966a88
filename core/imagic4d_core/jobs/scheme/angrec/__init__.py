"""Angular reconstitution: Euler angles, shifts and 3D memberships of images, from anchor sets or from common lines."""
