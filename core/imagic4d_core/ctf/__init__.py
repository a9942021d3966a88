"""Contrast transfer of the microscope."""
