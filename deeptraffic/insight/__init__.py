"""Insight into policies: what they decided and by which values, and layers on the road that explain it.

In a notebook, as in a window or a film:

    >>> layer = make_layer("attention", LayerContext(RULES_2018, policy))
    >>> episode = watch_decisions(policy_episode(policy, RULES_2018, Start.open(3), frames=600), [layer])
    >>> Video(episode_frames(episode, Painter(RULES_2018, layers=[layer])), fps=30)
"""
