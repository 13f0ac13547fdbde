"""Policies that drive by a perception model."""
