"""Evaluation and competition: protocols, scores, seeds."""
