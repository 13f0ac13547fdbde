"""Encoders, one in each module, which has its name: a new module here is a new encoder."""
