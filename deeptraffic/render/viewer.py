"""Interactive viewer: an episode in a window that is run, paused, rewound and inspected by keyboard.

    >>> view = Viewer(lambda seed: Episode(RULES_2018, Start.open(seed), decide, label="mine"), seed=1)
    >>> view.run()  # until the window is closed

Everything but `run` works without a window: `press` takes a key, `tick` advances by a 60th of a second, and `image`
returns the content of the window.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeptraffic.episodes.episode import Episode
from deeptraffic.render.capture import Capture
from deeptraffic.render.controls import DRIVING_HELP, HELP, PACES, Command, Controls
from deeptraffic.render.dashboard import Dashboard, draw_help, draw_tip
from deeptraffic.render.drawing import ByteArray, TextRenderer
from deeptraffic.render.insight import Insight, last_decision
from deeptraffic.render.keyboard import KeyboardPolicy
from deeptraffic.render.layers import RoadLayer
from deeptraffic.render.painter import Painter
from deeptraffic.render.race import COLOURS, Entrant, Ghost, RaceBoard, check_entrants, draw_ghosts
from deeptraffic.render.road import Camera, Rectangle
from deeptraffic.render.sprites import VehicleImage
from deeptraffic.render.theme import theme_by_name, trail_colour_by_name, visible
from deeptraffic.render.timeline import Mark, Timeline
from deeptraffic.render.window import Window
from deeptraffic.run_dir import WriteError
from deeptraffic.sim.engine import Simulator
from deeptraffic.sim.rules import Sensor
from deeptraffic.sim.state import State

if TYPE_CHECKING:
    import pygame

FPS = 60
MAX_CATCH_UP = 6  # [1/60 s] at most between two images
IDLE_FPS = 25  # while nothing changes
NOTICE_SECONDS = 4.0
SHOW_AGAIN = 2.0  # seconds after which an unchanged image is shown again, since something may have covered it
MIN_HEIGHT = 240  # [pixels]
MIN_HEIGHT_OF_TIMELINE = 400  # [pixels] of a window that shows a timeline
SIZE, SIZE_BESIDE = (1060, 760), (1366, 760)  # [pixels] of a window with one road, and with two

MakeEpisode = Callable[[int], Episode]
"""seed -> a new episode whose policy has just been reset; a replay may ignore the seed."""


class ViewerOptions(NamedTuple):
    """What the viewer shows besides the episode.

    sensor: cells of the input overlay
    insight: returns the policy's activations at its last decision, or None
    rival: makes a second episode, shown beside the first, or as its ghost if `ghost` is set
    image: replaces the drawn ego vehicle
    countdown: seconds before an episode starts
    on_image: draws over the window's image (H, W, 3)
    layers, rival_layers: drawn on the first and on the second road, see `deeptraffic.render.layers`
    stuck: returns whether the ego car of a simulator's env 0 is stuck after a frame: 0, `timeline.SLOW` or
        `timeline.STUCK`; None marks nothing
    racers: make the episodes of further entrants of a race, shown as ghosts; there is no rival then
    """

    sensor: Sensor = Sensor()
    insight: Callable[[], Insight | None] | None = None
    rival: MakeEpisode | None = None
    ghost: bool = False
    image: VehicleImage | None = None
    countdown: int = 0
    on_image: Callable[[ByteArray], None] | None = None
    layers: Sequence[RoadLayer] = ()
    rival_layers: Sequence[RoadLayer] = ()
    stuck: Callable[[Simulator], int] | None = None
    racers: Sequence[MakeEpisode] = ()


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
        self.make_episode, self.seed, self.options, self.keyboard = (
            make_episode,
            seed,
            options or ViewerOptions(),
            keyboard,
        )
        if self.options.racers:
            check_entrants(1 + len(self.options.racers))
        self.size = size or (SIZE_BESIDE if self._roads == 2 else SIZE)
        self.message, self.on_end = "", on_end
        self.quit = self.fullscreen = False
        self.capture = Capture(Path.cwd(), FPS)
        self._notice, self._notice_ends = "", 0.0
        self._waiting = 0.0  # [1/60 s] until the run starts
        self._run = 0
        self.pointer: tuple[int, int] | None = None  # where the mouse is in the image [pixels]
        self._shown: tuple[list[object], ByteArray] | None = None
        self._text = TextRenderer()
        self._painters: tuple[object, list[Painter], Dashboard | None, Timeline | None] | None = None
        self._board: RaceBoard | None = None
        self._start(controls)

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
        painters, _, timeline = self._arranged()
        self._is_scrubbing = timeline is not None and y >= painters[0].size[1]
        if self._is_scrubbing:
            self.drag(x)
            return
        left = 0
        for painter, episode in zip(painters, self._episodes, strict=False):
            if left <= x < left + painter.size[0]:
                vehicle = painter.vehicle_at(episode.state[0], (x - left, y), self.controls.follow)
                if vehicle is not None:
                    self.controls.follow = vehicle
            left += painter.size[0]

    def drag(self, x: int) -> None:
        """Handle a move with the left button held down: on from the timeline it goes to a frame."""
        timeline = self._arranged()[2]
        if self._is_scrubbing and timeline is not None:
            self._seek(timeline.frame_at(x))

    def tip(self) -> str:
        """Return a text about what the mouse points at: a unit of the network, or a cell of the overlay."""
        if self.pointer is None or self.controls.help:
            return ""
        x, y = self.pointer
        painters, dashboard = self._arranged()[:2]
        left = 0
        for painter, episode in zip(painters, self._episodes, strict=False):
            if left <= x < left + painter.size[0]:
                controls = self.controls
                return painter.cell_at(episode.state[0], (x - left, y), controls.overlay, controls.follow)
            left += painter.size[0]
        return "" if dashboard is None else dashboard.unit_at(x - left, y)

    def tick(self, ticks: float = 1.0) -> None:
        """Advance by `ticks` 60ths of a second; on a slow machine several pass between two images."""
        if self.controls.paused or self.controls.prompt is not None:
            return
        if self._waiting > 0:
            self._waiting = max(0.0, self._waiting - ticks)
            return
        self._due += PACES[self.controls.pace] * ticks
        while self._due >= 1:
            self._due -= 1
            if not self._advance():
                break

    def image(self) -> ByteArray:
        """Return the content of the window, (H, W, 3) uint8; the same array again while nothing in it changes."""
        frames, controls = [episode.frame for episode in self._episodes], list(vars(self.controls).values())
        action = None if self.keyboard is None else self.keyboard.next_action
        tip = self.tip()
        pointed = (tip, self.pointer) if tip else None
        key = [self._run, frames, controls, self.size, action, self._waiting, self._status(), pointed]
        if self._shown is None or self._shown[0] != key:
            self._shown = (key, self._paint_image())
        return self._shown[1]

    def _paint_image(self) -> ByteArray:
        painters, dashboard, timeline = self._arranged()
        state, ghost = [episode.state for episode in self._episodes], self._ghost
        overlay, follow = self.controls.overlay, self.controls.follow
        note = self._status() if dashboard is None else ""
        decided = [last_decision(episode) for episode in self._episodes]
        first = painters[0]
        images = [first.paint(state[0], overlay=overlay, follow=follow, ghost=ghost, note=note, decision=decided[0])]
        if len(painters) > 1:
            images.append(painters[1].paint(state[1], overlay=overlay, follow=follow, decision=decided[1]))
        self._speeds[self.episode.frame] = painters[0].observe(state[0]).mean_speed_mph(0)
        if dashboard is not None and self.options.racers:
            if self._board is None or (self._board.size, self._board.theme) != (dashboard.size, first.theme):
                self._board = RaceBoard(dashboard.size, first.theme)
            images.append(self._board.paint(self._entrants(), self._distances, self.episode.frame))
        elif dashboard is not None:
            insight = self._insights.get(self.episode.decisions, decided[0])
            if self.keyboard is not None:
                insight = Insight((), None, int(self.keyboard.next_action), refused=self.episode.refused)
            scores = [(episode.label, episode.score_mph()) for episode in self._episodes]
            differing = sum(mark.differs for mark in self._marks.values()), len(self._marks)
            images.append(dashboard.paint(self._speeds, self.episode.frame, scores, insight, self._status(), differing))
        below = None
        if timeline is not None:
            marks = [self._marks[frame] for frame in sorted(self._marks)]
            below = timeline.paint(self.episode.frame, marks, self._stuck)
        whole = put_together(images, below)
        if self.options.on_image is not None:
            self.options.on_image(whole)
        tip = self.tip()
        if tip and self.pointer is not None:
            draw_tip(whole, self.pointer, tip, painters[0].theme)
        if self.controls.help:
            entries = (*DRIVING_HELP, *HELP) if self.keyboard is not None else HELP
            draw_help(whole, entries, painters[0].theme)
        return whole

    @property
    def episode(self) -> Episode:
        """The episode that is shown."""
        return self._episodes[0]

    @property
    def countdown(self) -> float:
        """Seconds until the run starts."""
        return self._waiting / FPS

    @property
    def rival(self) -> Episode | None:
        """The second episode."""
        return self._episodes[1] if len(self._episodes) > 1 else None

    @property
    def roads(self) -> list[Rectangle]:
        """Where the roads are in the window."""
        found, left = [], 0
        for painter in self._arranged()[0]:
            road = painter.layout.road
            found.append(road._replace(left=road.left + left))
            left += painter.size[0]
        return found

    @property
    def beside(self) -> Rectangle | None:
        """Where the dashboard is in the window; None if there is no room for it, or it is hidden."""
        painters, dashboard, _ = self._arranged()
        if dashboard is None:
            return None
        return Rectangle(sum(painter.size[0] for painter in painters), 0, *dashboard.size)

    @property
    def speeds(self) -> NDArray[np.float64]:
        """(F + 1,) the read-out at each frame [mph], NaN where it is not known."""
        return self._speeds

    def _entrants(self) -> list[Entrant]:
        """Return the entrants of a race as they are now."""
        now, start = self._distances[self.episode.frame], self._distances[0]
        return [
            Entrant(episode.label, COLOURS[k], episode.score_mph(), float(now[k] - start[k]))
            for k, episode in enumerate(self._episodes)
        ]

    def _draw_racers(self, canvas: "pygame.Surface", camera: Camera, state: State) -> None:
        """Draw the other entrants of a race on the first one's road."""
        grounds = [ground[self.episode.frame] for ground in self._grounds]
        ghosts = [
            Ghost(k + 1, COLOURS[k], float(scene["x"][0]), float(scene["y"][0]) - (grounds[k] - grounds[0]))
            for k, scene in enumerate(episode.state[0] for episode in self._episodes)
        ]
        draw_ghosts(canvas, camera, ghosts[1:], self._text)

    def lead(self) -> float:
        """Return how far the ego car is ahead of the rival's [px]; 0 without a rival."""
        if len(self._episodes) < 2:
            return 0.0
        one, other = (
            ground[episode.frame] - float(episode.state[0]["y"][0])
            for ground, episode in zip(self._grounds, self._episodes, strict=True)
        )
        return float(one - other)

    def record(self, image: ByteArray) -> None:
        """Add an image to the video, if one is being written."""
        try:
            if (path := self.capture.add(image)) is not None:
                self.notify(f"Saved {path.name}: the window's size has changed.")
        except WriteError as error:
            self.notify(str(error))

    def notify(self, notice: str) -> None:
        """Show a line at the bottom for some seconds."""
        self._notice, self._notice_ends = notice, time.monotonic() + NOTICE_SECONDS

    def _start(self, controls: Controls | None = None) -> None:
        """Start new episodes."""
        makers = [self.make_episode, *([self.options.rival] if self.options.rival else []), *self.options.racers]
        self._episodes = [make(self.seed) for make in makers]
        if controls is not None:
            self.controls = controls
        elif not hasattr(self, "controls"):
            self.controls = Controls(self.episode.rules.vehicles)
        self._run += 1
        self._due, self.message = 0.0, ""
        self._waiting = float(FPS * self.options.countdown)
        self._speeds = np.full(self.episode.frames + 1, np.nan)
        self._insights: dict[int, Insight] = {}
        self._marks: dict[int, Mark] = {}
        self._stuck = np.zeros(self.episode.frames + 1, np.uint8)
        self._is_scrubbing = False
        if self._replayed:  # all of a trace is known from the start
            whole = self.make_episode(self.seed)
            while whole.advance():
                self._note_frame(whole)
        self._grounds = [np.zeros(episode.frames + 1) for episode in self._episodes]  # [px] moved by each frame
        self._distances = np.full((self.episode.frames + 1, len(self._episodes)), np.nan)  # [px] since the start
        self._distances[0] = [-float(episode.state[0]["y"][0]) for episode in self._episodes]
        self._enter()

    def _enter(self) -> None:
        """Clear the painters' histories before this frame, except for the distances that the roads have moved."""
        grounds = [ground[episode.frame] for ground, episode in zip(self._grounds, self._episodes, strict=True)]
        painters = self._painters[1] if self._painters else []
        for painter, ground, episode in zip(painters, grounds, self._episodes, strict=False):
            painter.enter(ground, grounds[-1])
            painter.observe(episode.state, ghost=self._ghost)

    @property
    def _roads(self) -> int:
        """Number of roads side by side."""
        return 2 if self.options.rival is not None and not self.options.ghost else 1

    @property
    def _ghost(self) -> State | None:
        return self._episodes[1].state if self.options.ghost and len(self._episodes) > 1 else None

    def _advance(self) -> bool:
        """Advance every episode by a frame and let the painters observe it; False if the first is over."""
        painters = self._arranged()[0]
        if not self._roll(0):
            if self.on_end is not None and not self.message:
                self.message = self.on_end(self.episode)
            return False
        for index in range(1, len(self._episodes)):
            self._roll(index)
        begun, rival = self.episode.frame - 1, self.rival
        if rival is not None and begun in self._marks and begun == rival.frame - 1:
            self._marks[begun] = self._marks[begun]._replace(other=rival.ego_action)
        if len(painters) > 1:
            painters[1].observe(self._episodes[1].state)
        history = painters[0].observe(self.episode.state, ghost=self._ghost)
        self._speeds[self.episode.frame] = history.mean_speed_mph(0)
        return True

    def _roll(self, index: int) -> bool:
        """Advance one episode by a frame, recording its road's motion and its policy's insight; False if it is over."""
        episode, ground = self._episodes[index], self._grounds[index]
        decisions, moved = episode.decisions, ground[episode.frame] + episode.state.scroll[0]
        if not episode.advance():
            return False
        ground[episode.frame] = moved
        self._distances[episode.frame, index] = moved - float(episode.state[0]["y"][0])
        if index == 0:
            if episode.decisions != decisions:
                self._note_insight()
            self._note_frame(episode)
        return True

    def _note_frame(self, episode: Episode) -> None:
        """Keep what the timeline shows of the frame of the first episode that has just ended."""
        period = episode.rules.decision_period
        action, begun = episode.ego_action, episode.frame - 1
        if begun % period == 0 and action is not None:
            self._marks[begun] = Mark(begun, action, episode.refused)
        if self.options.stuck is not None:
            self._stuck[episode.frame] = self.options.stuck(episode.sim)

    def _note_insight(self) -> None:
        """Keep the policy's insight; a decision that is replayed keeps its first one."""
        if self.options.insight is not None and self.episode.decisions not in self._insights:
            insight = self.options.insight()
            if insight is not None:
                self._insights[self.episode.decisions] = insight._replace(refused=self.episode.refused)

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
        elif command.kind in ("screenshot", "video"):
            self._capture(command.kind)
        elif command.kind == "restart":
            self.seed = self.seed if command.value is None or self._replayed else command.value
            self._start()
        elif command.value is not None:
            self._seek(command.value if command.kind == "seek" else self.episode.frame + command.value)

    @property
    def _is_in_the_middle(self) -> bool:
        """Whether a run driven by hand would be lost."""
        return self.keyboard is not None and 0 < self.episode.frame < self.episode.frames

    def _capture(self, kind: str) -> None:
        try:
            if kind == "screenshot":
                self.notify(f"Saved {self.capture.screenshot(self.image()).name}.")
            elif self.capture.is_recording:
                self.notify(f"Saved {self.capture.stop().name}.")
            else:
                self.capture.start()
        except WriteError as error:
            self.notify(str(error))

    def _seek(self, frame: int) -> None:
        """Seek a frame; the frames just before it are replayed for the trail and the read-out."""
        frame = min(max(frame, 0), self.episode.frames)
        here = self.episode.frame
        if not here <= frame <= here + 1000:
            lead_in = max(0, frame - 110)
            for index, episode in enumerate(self._episodes):
                if lead_in < episode.frame:
                    episode.seek(lead_in)
                while episode.frame < lead_in and self._roll(index):
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

    def _arranged(self) -> tuple[list[Painter], Dashboard | None, Timeline | None]:
        """Return painters, dashboard and timeline for the window's size and the options, new ones if these changed."""
        controls = self.controls
        beside = self._roads
        width, height = max(self.size[0], 200), max(self.size[1], MIN_HEIGHT)
        key = (width, height, *controls.appearance, beside, self.episode.rules, self.episode.frames)
        if self._painters is None or self._painters[0] != key:
            panel = theme_by_name(controls.theme).panel
            accent, timeline = visible(trail_colour_by_name(controls.trail), panel), None
            if controls.dashboard and height >= MIN_HEIGHT_OF_TIMELINE and self.keyboard is None:
                timeline = Timeline(width, height / 700, self.episode.frames, theme_by_name(controls.theme), accent)
                height -= timeline.size[1]
            road_width = min(round(height / 700 * (220 + 180 * controls.zoom)), width // beside)
            rest = width - beside * road_width
            if not controls.dashboard or rest < 0.35 * height:
                road_width, rest = width // beside, 0
            images = (self.options.image, None)  # the rival keeps the drawn one
            layers = (self.options.layers, self.options.rival_layers) if controls.layers else ((), ())
            if self.options.racers:
                layers = ((self._draw_racers, *layers[0]), ())
            painters = [
                self._painter(episode, (road_width, height), image, own)
                for episode, image, own in zip(self._episodes[:beside], images, layers, strict=False)
            ]
            for painter, old in zip(painters, self._painters[1] if self._painters else [], strict=False):
                painter.take_over(old)
            dashboard = Dashboard((rest, height), painters[0].theme, accent) if rest else None
            entered = self._painters is not None
            self._painters = (key, painters, dashboard, timeline)
            if not entered:
                self._enter()
        return self._painters[1:]

    def _painter(
        self, episode: Episode, size: tuple[int, int], image: VehicleImage | None, layers: Sequence[RoadLayer]
    ) -> Painter:
        return Painter(
            episode.rules,
            size,
            theme=self.controls.theme,
            trail=self.controls.trail,
            sensor=self.options.sensor,
            label=episode.label,
            image=image,
            film=True,
            layers=layers,
            zoom=self.controls.zoom,
        )


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


def put_together(images: Sequence[ByteArray], below: ByteArray | None = None) -> ByteArray:
    """Return images of one height side by side, and one of their whole width below them."""
    height, widths = images[0].shape[0], [image.shape[1] for image in images]
    whole = np.empty((height + (0 if below is None else below.shape[0]), sum(widths), 3), np.uint8)
    for image, right in zip(images, np.cumsum(widths).tolist(), strict=True):
        whole[:height, right - image.shape[1] : right] = image
    if below is not None:
        whole[height:] = below
    return whole
