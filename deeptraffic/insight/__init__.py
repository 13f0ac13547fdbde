"""Insight into policies: what they decided and by which values, and layers on the road that explain it."""
