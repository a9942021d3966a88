"""Test patterns, sampled where they are wanted."""
