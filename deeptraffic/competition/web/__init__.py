"""The competition in the browser: pages, JSON API, replays and charts."""
