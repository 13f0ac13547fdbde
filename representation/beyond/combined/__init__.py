"""Multimodal fusion."""
