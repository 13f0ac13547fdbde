"""Rendering of episodes: `painter` draws an env, `recorder` writes files, `viewer` opens a window."""
