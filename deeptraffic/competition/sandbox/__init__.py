"""Sandbox for untrusted policies: a locked-down child process receives observations and answers actions."""
