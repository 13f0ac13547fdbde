"""Encoder-decoder networks (paradigm 4): segmentation, prediction and captions."""
