"""Images of games: `painter` draws a State row, `recorder` writes files, `viewer` opens a window, `trace` replays."""
