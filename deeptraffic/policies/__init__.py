"""Policies as data: the policy file, the interpreter of its network, and the original game's submissions."""
