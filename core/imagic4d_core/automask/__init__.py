"""Masks found in the density itself: modulation (local variance), threshold, one connected region with a soft edge."""
