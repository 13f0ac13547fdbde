"""Interactive viewer: an episode in a window that is run, paused, rewound and inspected by keyboard.

    >>> view = Viewer(lambda seed: Episode(RULES_2018, Start.open(seed), decide, label="mine"), seed=1)
    >>> view.run()  # until the window is closed

Everything but `run` works without a window: `press` takes a key, `tick` advances by a 60th of a second, and `image`
returns the content of the window.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deeptraffic.episodes.decision import Insight, last_decision
from deeptraffic.episodes.episode import Episode
from deeptraffic.episodes.keyboard import KeyboardPolicy
from deeptraffic.render.board import draw_help, draw_tip
from deeptraffic.render.capture import Capture
from deeptraffic.render.compositor import Camera
from deeptraffic.render.controls import DRIVING_HELP, HELP, PACES, Command, Controls
from deeptraffic.render.dashboard import Dashboard
from deeptraffic.render.drawing import ByteArray
from deeptraffic.render.race import Ghosts, check_entrants
from deeptraffic.render.run_log import RunLog
from deeptraffic.render.screen import MakeEpisode, Screen, ViewerOptions
from deeptraffic.render.window import Window
from deeptraffic.run_dir import WriteError
from deeptraffic.sim.state import State

if TYPE_CHECKING:
    import pygame

FPS = 60
MAX_CATCH_UP = 6  # [1/60 s] at most between two images
IDLE_FPS = 25  # while nothing changes
NOTICE_SECONDS = 4.0
SHOW_AGAIN = 2.0  # seconds after which an unchanged image is shown again, since something may have covered it
SIZE, SIZE_BESIDE = (1060, 760), (1366, 760)  # [pixels] of a window with one road, and with two


class Viewer:
    """Shows an episode.

    Args:
        make_episode: makes a new episode from a seed
        seed: of the first episode
        options: what else is shown
        keyboard: the policy that the arrow keys control, if it drives the episode
        size: (width, height) [pixels] of the window; None fits all panels
        controls: initial overlay, trail and theme
        on_end: called when the episode is over; returns a message to show

    episodes: that are shown, the first one's driver in the window's title
    log: of what they have been through
    countdown: [1/60 s] until they start
    """

    def __init__(
        self,
        make_episode: MakeEpisode,
        *,
        seed: int = 1,
        options: ViewerOptions | None = None,
        keyboard: KeyboardPolicy | None = None,
        size: tuple[int, int] | None = None,
        controls: Controls | None = None,
        on_end: Callable[[Episode], str] | None = None,
    ) -> None:
        self.make_episode, self.seed, self.keyboard = make_episode, seed, keyboard
        self.options = options or ViewerOptions()
        if self.options.arrangement == "race":
            check_entrants(1 + len(self.options.rivals))
        self.size = size or (SIZE_BESIDE if self.options.roads == 2 else SIZE)
        self.on_end = on_end
        self.quit = self.fullscreen = False
        self.capture = Capture(Path.cwd(), FPS)
        self._notice, self._notice_ends = "", 0.0
        self._run, self.countdown = 0, 0.0
        self.pointer: tuple[int, int] | None = None  # where the mouse is in the image [pixels]
        self._shown: tuple[list[object], ByteArray] | None = None
        self._ghosts = Ghosts()
        self._screen: tuple[object, Screen] | None = None  # and what it was made for
        self._start()
        self.controls = controls or Controls(self.episode.rules.vehicles)

    def run(self) -> None:
        """Open a window and show the episode until it is closed."""
        import pygame

        window = Window(self.size, f"DeepTraffic: {self.episode.label}")
        then = shown_at = time.monotonic()
        shown: ByteArray | None = None
        try:
            while window.is_open and not self.quit:
                for event in window.events():
                    if event.type == pygame.KEYDOWN:
                        self.press(pygame.key.name(event.key), bool(event.mod & pygame.KMOD_SHIFT))
                    elif event.type == pygame.KEYUP:
                        self.release(pygame.key.name(event.key))
                    elif event.type == pygame.MOUSEBUTTONDOWN and event.button == pygame.BUTTON_LEFT:
                        self.click(*window.point(event))
                    elif event.type == pygame.MOUSEMOTION:
                        self.pointer = window.point(event)
                        if event.buttons[0]:
                            self.drag(self.pointer[0])
                    elif event.type == pygame.MOUSEBUTTONUP:
                        self._is_scrubbing = False
                    elif event.type == pygame.MOUSEWHEEL:
                        self.controls.change_zoom(event.y)
                window.fullscreen = self.fullscreen
                self.size = window.size
                image = self.image()
                self.record(image)
                now, is_new = time.monotonic(), image is not shown
                if is_new or now >= shown_at + SHOW_AGAIN:
                    window.show(image)
                    shown, shown_at = image, now
                window.wait(FPS if is_new else IDLE_FPS)
                now = time.monotonic()
                self.tick(min((now - then) * FPS, MAX_CATCH_UP))
                then = now
        finally:
            window.close()
            if self.capture.is_recording:
                self.capture.stop()

    def press(self, key: str, shift: bool = False) -> None:
        """Handle a key, named as by `pygame.key.name`."""
        if self.keyboard is not None and self.controls.prompt is None and self.keyboard.press(key):
            return
        command = self.controls.press(key, shift)
        if command is not None:
            self._carry_out(command)

    def release(self, key: str) -> None:
        """Handle the release of a key."""
        if self.keyboard is not None:
            self.keyboard.release(key)

    def click(self, x: int, y: int) -> None:
        """Handle a click at a point of the image [pixels]: it goes to a frame of the timeline, or follows a vehicle."""
        screen = self.screen
        self._is_scrubbing = screen.is_on_timeline(y)
        number, across = screen.road_at(x)
        if self._is_scrubbing:
            self.drag(x)
        elif number < len(screen.painters):
            state, follow = self.episodes[number].state[0], self.controls.follow
            vehicle = screen.painters[number].vehicle_at(state, (across, y), follow)
            self.controls.follow = follow if vehicle is None else vehicle

    def drag(self, x: int) -> None:
        """Handle a move with the left button held down: on from the timeline it goes to a frame."""
        if self._is_scrubbing and (timeline := self.screen.timeline) is not None:
            self._seek(timeline.frame_at(x))

    def tip(self) -> str:
        """Return a text about what the mouse points at: a unit of the network, or a cell of the overlay."""
        if self.pointer is None or self.controls.help:
            return ""
        screen, controls, (x, y) = self.screen, self.controls, self.pointer
        number, across = screen.road_at(x)
        if number < len(screen.painters):
            state = self.episodes[number].state[0]
            return screen.painters[number].cell_at(state, (across, y), controls.overlay, controls.follow)
        return screen.beside.unit_at(across, y) if isinstance(screen.beside, Dashboard) else ""

    def tick(self, ticks: float = 1.0) -> None:
        """Advance by `ticks` 60ths of a second; on a slow machine several pass between two images."""
        if self.controls.paused or self.controls.prompt is not None:
            return
        if self.countdown > 0:
            self.countdown = max(0.0, self.countdown - ticks)
            return
        self._due += PACES[self.controls.pace] * ticks
        while self._due >= 1:
            self._due -= 1
            if not self._advance():
                break

    def image(self) -> ByteArray:
        """Return the content of the window, (H, W, 3) uint8; the same array again while nothing in it changes."""
        frames, controls = [episode.frame for episode in self.episodes], list(vars(self.controls).values())
        action = None if self.keyboard is None else self.keyboard.next_action
        tip = self.tip()
        pointed = (tip, self.pointer) if tip else None
        key = [self._run, frames, controls, self.size, action, self.countdown, self._status(), pointed]
        if self._shown is None or self._shown[0] != key:
            self._shown = (key, self._paint_image(tip))
        return self._shown[1]

    def _paint_image(self, tip: str) -> ByteArray:
        screen, log, overlay, follow = self.screen, self.log, self.controls.overlay, self.controls.follow
        decided = [last_decision(episode) for episode in self.episodes]
        images = []
        for k, painter in enumerate(screen.painters):
            note = self._status() if k == 0 and screen.beside is None else ""
            looks: dict[str, Any] = {"overlay": overlay, "follow": follow, "decision": decided[k]}
            images.append(painter.paint(self.episodes[k].state, note=note, **looks))
        log.speeds[self.episode.frame] = screen.painters[0].observe(self.episode.state).mean_speed_mph
        if isinstance(screen.beside, Dashboard):
            insight = log.insights.get(self.episode.decisions, decided[0])
            if self.keyboard is not None:
                insight = Insight((), None, int(self.keyboard.next_action), refused=self.episode.refused)
            scores = [(episode.label, episode.score_mph()) for episode in self.episodes]
            differing = sum(mark.differs for mark in log.marks.values()), len(log.marks)
            status = self._status()
            images.append(screen.beside.paint(log.speeds, self.episode.frame, scores, insight, status, differing))
        elif screen.beside is not None:
            images.append(screen.beside.paint(log.entrants(), log.distances, self.episode.frame))
        below = None
        if screen.timeline is not None:
            below = screen.timeline.paint(self.episode.frame, log.marks, log.stuck)
        whole = screen.put_together(images, below)
        if self.options.on_image is not None:
            self.options.on_image(whole)
        theme = screen.painters[0].theme
        if tip and self.pointer is not None:
            draw_tip(whole, self.pointer, tip, theme)
        if self.controls.help:
            draw_help(whole, (*DRIVING_HELP, *HELP) if self.keyboard is not None else HELP, theme)
        return whole

    @property
    def episode(self) -> Episode:
        """The episode that is shown."""
        return self.episodes[0]

    def _draw_ghosts(self, canvas: "pygame.Surface", camera: Camera, state: State) -> None:
        """Draw the rival, or the other entrants of a race, on the first road."""
        self._ghosts.draw(canvas, camera, self.log.ghosts(self.options.arrangement == "ghost"))

    def record(self, image: ByteArray) -> None:
        """Add an image to the video, if one is being written."""
        self._save(partial(self.capture.add, image), ": the window's size has changed")

    def _save(self, write: Callable[[], Path | None], words: str = "") -> None:
        """Write to files, and say for some seconds which one is whole, or what went wrong."""
        try:
            path = write()
            notice = path and f"Saved {path.name}{words}."
        except WriteError as error:
            notice = str(error)
        if notice:
            self._notice, self._notice_ends = notice, time.monotonic() + NOTICE_SECONDS

    def _start(self) -> None:
        """Start new episodes."""
        self.episodes = [make(self.seed) for make in (self.make_episode, *self.options.rivals)]
        self._run += 1
        self._due, self.message = 0.0, ""
        self.countdown = float(FPS * self.options.countdown)
        self._is_scrubbing = False
        self.log = RunLog(self.episodes, self.options.insight, self.options.stuck)
        if self._replayed:  # all of a trace is known from the start
            whole = self.make_episode(self.seed)
            while whole.advance():
                self.log.note_frame(whole)
        self._enter()

    def _enter(self) -> None:
        """Clear the painters' histories before this frame, except for the distances that the roads have moved."""
        moved = self.log.moved
        for k, painter in enumerate(self._screen[1].painters if self._screen else []):
            painter.enter(moved[k])
            painter.observe(self.episodes[k].state)

    def _advance(self) -> bool:
        """Advance every episode by a frame and let the painters observe it; False if the first is over."""
        painters = self.screen.painters
        if not self.log.advance():
            if self.on_end is not None and not self.message:
                self.message = self.on_end(self.episode)
            return False
        if len(painters) > 1:
            painters[1].observe(self.episodes[1].state)
        history = painters[0].observe(self.episode.state)
        self.log.speeds[self.episode.frame] = history.mean_speed_mph
        return True

    def _carry_out(self, command: Command) -> None:
        if command.kind == "leave" or (command.kind == "quit" and not self._is_in_the_middle):
            self.quit = True
        elif command.kind == "quit":
            self.controls.prompt = "leave"
        elif command.kind == "again":
            if self.keyboard is not None and self.episode.frame >= self.episode.frames:
                self._start()
        elif command.kind == "fullscreen":
            self.fullscreen = not self.fullscreen
        elif command.kind == "screenshot":
            self._save(lambda: self.capture.screenshot(self.image()))
        elif command.kind == "video":
            self._save(self.capture.stop if self.capture.is_recording else self.capture.start)
        elif command.kind == "restart":
            self.seed = self.seed if command.value is None or self._replayed else command.value
            self._start()
        elif command.value is not None:
            self._seek(command.value if command.kind == "seek" else self.episode.frame + command.value)

    @property
    def _is_in_the_middle(self) -> bool:
        """Whether a run driven by hand would be lost."""
        return self.keyboard is not None and 0 < self.episode.frame < self.episode.frames

    def _seek(self, frame: int) -> None:
        """Seek a frame; the frames just before it are replayed for the trail and the read-out."""
        frame = min(max(frame, 0), self.episode.frames)
        here = self.episode.frame
        if not here <= frame <= here + 1000:
            lead_in = max(0, frame - 110)
            for index, episode in enumerate(self.episodes):
                if lead_in < episode.frame:
                    episode.seek(lead_in)
                while episode.frame < lead_in and self.log.roll(index):
                    pass
            self._enter()
        while self.episode.frame < frame and self._advance():
            pass

    def _status(self) -> str:
        """Return the status line of the dashboard."""
        controls = self.controls
        if controls.prompt == "leave":
            return "Leave this run?   Enter: leave, Esc: drive on"
        if controls.prompt is not None:
            return f"{controls.prompt}: {controls.typed}_   Enter: go, Esc: no"
        if time.monotonic() < self._notice_ends:
            return self._notice
        if self.capture.is_recording:
            return "recording a video  \u00b7  V: end it"
        if self.message:
            return self.message
        over = self.episode.frame >= self.episode.frames
        run = "over" if over else "paused" if controls.paused else controls.pace
        start = "trace" if self._replayed else f"seed {self.seed}"
        return f"{run}  \u00b7  {start}  \u00b7  H: help"

    @property
    def _replayed(self) -> bool:
        """Whether the episode replays a trace, whose seed is fixed."""
        return self.episode.decide is None

    @property
    def screen(self) -> Screen:
        """The screen for the window's size and the options, a new one if these have changed."""
        key = (self.size, *self.controls.appearance, self.episode.rules, self.episode.frames)
        if self._screen is None or self._screen[0] != key:
            before, has_timeline = self._screen, self.keyboard is None
            made = Screen(self.size, self.episodes, self.controls, self.options, has_timeline, self._draw_ghosts)
            self._screen = (key, made)
            if before is None:
                self._enter()
            else:
                for painter, old in zip(made.painters, before[1].painters, strict=False):
                    painter.take_over(old)
        return self._screen[1]


def viewer_frames(
    viewer: Viewer, every: int = 2, progress: Callable[[int, int], None] | None = None
) -> Iterator[ByteArray]:
    """Run the viewer's episode to its end and yield images of every `every`-th frame and of the last."""
    frames = viewer.episode.frames
    while viewer.episode.frame < frames:
        viewer.tick()
        if viewer.episode.frame % every == 0 or viewer.episode.frame == frames:
            yield viewer.image()
        if progress:
            progress(viewer.episode.frame, frames)
