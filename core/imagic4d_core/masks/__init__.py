"""Masks: shapes, edges, and masks found in the density."""
