"""Reconstruction of one or many 3Ds from images with poses."""
