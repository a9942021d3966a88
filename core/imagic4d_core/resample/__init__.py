"""Geometric operations on images and volumes: each written once, over the trailing two or three axes."""
