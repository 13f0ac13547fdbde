"""The card that lists the viewer's keys."""

import numpy as np

from deeptraffic.render.lettering import Lettering
from deeptraffic.render.shapes import ByteArray
from deeptraffic.render.theme import Theme


def draw_help(picture: ByteArray, entries: tuple[tuple[str, str], ...], theme: Theme) -> None:
    """Lay the list of (key, what it does) over the middle of a picture (H, W, 3), dimming the rest."""
    import pygame

    height, width = picture.shape[:2]
    np.right_shift(picture, 1, out=picture)
    canvas = pygame.image.frombuffer(picture.data, (width, height), "RGB")
    unit = min(height / 700, width / 480)
    line = 27 * unit
    card = pygame.Rect(0, 0, round(430 * unit), round(line * len(entries) + 92 * unit))
    card.center = (width // 2, height // 2)
    pygame.draw.rect(canvas, theme.panel, card, border_radius=round(14 * unit))
    pygame.draw.rect(canvas, theme.track, card, width=max(1, round(1.5 * unit)), border_radius=round(14 * unit))
    lettering = Lettering()
    lettering.write(canvas, "Keys", (card.left + 28 * unit, card.top + 22 * unit), 26 * unit, theme.text)
    for k, (key, meaning) in enumerate(entries):
        y = card.top + 68 * unit + k * line
        lettering.write(canvas, key, (card.left + 28 * unit, y), 16 * unit, theme.text)
        lettering.write(canvas, meaning, (card.left + 150 * unit, y), 16 * unit, theme.muted)
