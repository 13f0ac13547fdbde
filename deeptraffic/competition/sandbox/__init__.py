"""Strangers' policies, where they can do no harm: a locked child process sees observations and answers actions."""
