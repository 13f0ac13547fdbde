"""Windows that share a process: with one another, with Gymnasium's and with a user's own."""

import gc
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pygame
import pytest

from deeptraffic.render.window import Window, has_display, open_display

IMAGE = np.full((80, 100, 3), 200, np.uint8)
BESIDE_OTHERS = """
import gc, pygame, numpy as np
from deeptraffic.render.window import Window
image = np.full((80, 100, 3), 200, np.uint8)
one, other = Window((200, 100), "one"), Window((200, 100), "other")
assert one.show(image) and other.show(image)
one.close()
one.close()
assert not one.show(image) and other.show(image) and one.size == other.size == (200, 100)
mine = pygame.display.set_mode((50, 50))
del one
gc.collect()
assert other.show(image) and pygame.display.get_surface() is mine
pygame.quit()
assert other.show(image), "a window is opened again after pygame.quit()"
for _ in range(20):
    pygame.quit()
    pygame.display.init()
    mine = pygame.display.set_mode((50, 50))
    mine.fill((1, 2, 3))
    assert other.show(image) and other.size == (200, 100)
    assert pygame.display.get_surface().get_size() == (50, 50)
    assert pygame.display.get_surface().get_at((5, 5))[:3] == (1, 2, 3), "it has drawn into another's window"
other.close()
pygame.display.flip()
Window((100, 100)).show(image)  # left open
"""


@pytest.fixture(autouse=True)
def unseen(monkeypatch: pytest.MonkeyPatch):
    """Run without a display, and leave pygame as it was before its first window."""
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
    pygame.display.quit()
    yield
    gc.collect()
    pygame.display.quit()


def test_closing_a_window_closes_no_other():
    one, other = Window((200, 100)), Window((200, 100))
    one.close()
    assert other.show(IMAGE) and not one.show(IMAGE)
    other.close()


@pytest.mark.parametrize("display", ["dummy", "xvfb"])
def test_windows_live_beside_other_programs(requires_system, tmp_path, display):
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    command = [sys.executable, "-X", "faulthandler", "-c", BESIDE_OTHERS]
    if display == "xvfb":
        requires_system("xauth", "xauth")  # of xvfb-run, which Debian only recommends
        command = [requires_system("xvfb", "xvfb-run"), "-a", *command]
    else:
        env["SDL_VIDEODRIVER"] = "dummy"
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_close_button_closes_its_window_alone():
    one, other = Window((200, 100)), Window((200, 100))
    pygame.event.post(pygame.event.Event(pygame.WINDOWCLOSE, window=one._window))
    other.events()
    assert not one.is_open and other.is_open and other.show(IMAGE)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    other.events()
    assert not other.show(IMAGE)


def test_keys_go_to_the_window_that_they_were_pressed_in():
    one, other = Window((200, 100)), Window((200, 100))
    for window, key in ((one, pygame.K_a), (other, pygame.K_b), (one, pygame.K_c)):
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key, window=window._window))
    assert [event.key for event in one.events()] == [pygame.K_a, pygame.K_c]
    assert [event.key for event in other.events()] == [pygame.K_b]
    assert one.events() == other.events() == []


def test_mouse_events_are_where_the_image_is():
    window = Window((200, 100))
    window.show(IMAGE)  # 100 x 80, in the middle
    press = pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=(60, 30), button=1, window=window._window)
    pygame.event.post(press)
    pygame.event.post(pygame.event.Event(pygame.MOUSEWHEEL, y=1, window=window._window))
    found, wheel = window.events()
    assert window.point(found) == (10, 20) and wheel.y == 1
    window.close()


def test_a_dense_screen_is_used_to_its_last_pixel(monkeypatch: pytest.MonkeyPatch):
    window = Window((200, 100))
    surface = pygame.Surface((400, 200))  # two pixels for each unit of the desktop
    dense = SimpleNamespace(size=(200, 100), title=window._title, get_surface=lambda: surface, flip=lambda: None)
    monkeypatch.setattr(window, "_window", dense)
    assert window.size == (400, 200)
    assert window.show(np.full((200, 400, 3), 7, np.uint8)) and surface.get_at((399, 199))[:3] == (7, 7, 7)
    assert window.point(SimpleNamespace(pos=(100, 20))) == (200, 40)


def test_events_of_others_stay_in_the_queue():
    pygame.display.init()
    pygame.display.set_mode((50, 50))
    window = Window((200, 100))
    pygame.event.clear()
    kinds = [pygame.KEYDOWN, pygame.MOUSEMOTION, pygame.QUIT, pygame.USEREVENT]
    for kind in kinds:
        pygame.event.post(pygame.event.Event(kind))
    window.events()
    assert window.is_open and sorted(event.type for event in pygame.event.get()) == sorted(kinds)
    window.close()


def test_without_a_display_the_dummy_driver_is_used_and_the_environment_left_alone():
    before = {**os.environ}
    assert open_display() == "dummy" and not has_display() and pygame.mixer.get_init() is None
    assert {**os.environ} == before


def test_a_process_with_a_window_can_be_terminated():
    code = "import time; from deeptraffic.render.window import Window; Window((99, 99)); print(); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.read(1)
        process.terminate()
        assert process.wait(30) == -signal.SIGTERM


@pytest.mark.parametrize("name, value", [("DISPLAY", ":4711"), ("SDL_VIDEODRIVER", "x11")])
def test_a_display_that_does_not_answer_is_none(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    assert not has_display() and os.environ[name] == value
    assert Window((200, 100)).show(IMAGE)
