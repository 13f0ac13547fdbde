"""Static web page of the lab: its files by name, a folder of them for any web host, and a server on this machine.

The page's own files lie in `deeptraffic/lab/page`. Colours, sprites, sizes, limits of settings, known scores and
champions are generated from the package, so that the page has them from where everything else has them.
"""

import base64
import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any

from agents.algorithms.deepqlearn.config import ACTIVATIONS
from agents.champions.registry import CHAMPIONS, PERCEPTION
from agents.champions.registry import FOLDER as CHAMPIONS_FOLDER
from agents.settings import build_config
from deeptraffic.episodes.decision import ACTION_NAMES
from deeptraffic.episodes.history import SPEED_FRAMES, TRAIL_FRAMES
from deeptraffic.episodes.keyboard import KEYS
from deeptraffic.evaluation.protocol import KNOWN_SCORES, OFFICIAL
from deeptraffic.lab.atlas import GAP, SCALE, Index, draw_atlas
from deeptraffic.render.compositor import TRAIL_FADE, TRAIL_FADE_POWER, TRAIL_HALF_WIDTH, TRAIL_TAPER
from deeptraffic.render.controls import PACES
from deeptraffic.render.overlays import LEVELS, TOP_MARK
from deeptraffic.render.sprites import MAX_BYTES, MAX_SIDE, MIN_SIDE, PAD
from deeptraffic.render.theme import (
    FEET_PER_PX,
    PATTERN_PERIOD,
    SHOULDER,
    THEMES,
    TRAIL_COLOURS,
    Theme,
)
from deeptraffic.sim.rules import CELL_LENGTH, LANE_WIDTH, MPH_PER_PX, RULES_2018, VEHICLE_LENGTH, VEHICLE_WIDTH

FOLDER = Path(__file__).parent
PAGE = FOLDER / "page"
ENGINE = sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".js", ".wasm"))
ICON = FOLDER.parent / "competition" / "web" / "static" / "icon.svg"
HOST = "127.0.0.1"
DEFAULT_PORT = 8017
MIME_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".wasm": "application/wasm",
    ".safetensors": "application/octet-stream",
}
FIRST = "champion-solo"  # drives when the page opens
FIRST_PRESET = "lab"  # is shown when the page opens
FIRST_SEED = 42  # of the run that is shown when the page opens


# --- files ------------------------------------------------------------------------------------------------------------


def site_files() -> dict[str, bytes]:
    """Return the content of every file of the site by its path relative to the site's root."""
    files = {path.name: path.read_bytes() for path in sorted(PAGE.iterdir()) if path.suffix in MIME_TYPES}
    files |= {name: (FOLDER / name).read_bytes() for name in ENGINE}
    files |= {name: path.read_bytes() for name, path in {"icon.svg": ICON, **champion_files()}.items()}
    index: Index = {}
    for name, theme in THEMES.items():
        files[f"atlas-{name}.png"], index = draw_atlas(theme)
    files["theme.css"] = theme_css().encode()
    files["index.html"] = files["index.html"].replace(b"SANDBOX", sandbox_hash().encode())
    files["facts.js"] = f"export const FACTS = {json.dumps(facts(index))};\n".encode()
    return files | {"offline.js": offline_script(files)}


def sandbox_hash() -> str:
    """Return the one script within a page that its Content-Security-Policy allows: that of the sandbox, by its hash."""
    return f"sha256-{base64.b64encode(hashlib.sha256((PAGE / 'sandbox.js').read_bytes()).digest()).decode()}"


def champion_files() -> dict[str, Path]:
    """Return the policy files of the champions that observe the contest's vector, which the page can run, by path."""
    others = ("planner", PERCEPTION)
    shown = [champion for champion in CHAMPIONS.values() if champion.kind not in others]
    return {f"champions/{champion.name}.safetensors": CHAMPIONS_FOLDER / champion.file for champion in shown}


def theme_css() -> str:
    """Return the themes' colours as CSS variables: dark, and light where the system or the reader asks for it."""
    dark, light = (variables(THEMES[name]) for name in ("dark", "light"))
    return (
        f":root {{ color-scheme: dark; {dark} }}\n"
        "@media (prefers-color-scheme: light) { "
        f':root:not([data-theme="dark"]) {{ color-scheme: light; {light} }} }}\n'
        f':root[data-theme="light"] {{ color-scheme: light; {light} }}\n'
    )


def variables(theme: Theme) -> str:
    """Return a theme's single colours as declarations of CSS variables."""
    colours = {name.replace("_", "-"): value for name, value in asdict(theme).items() if name != "traffic"}
    return " ".join(f"--{name}: rgb({red} {green} {blue});" for name, (red, green, blue) in colours.items())


def facts(index: Index) -> dict[str, Any]:
    """Return what the page's modules read, as JSON values; sizes in px of the road unless said otherwise."""
    rules, names = RULES_2018, [PurePosixPath(path).stem for path in champion_files()]
    return {
        "atlas": {"scale": SCALE, "gap": GAP, "pad": PAD, "parts": index},
        "road": {
            **{"lane": LANE_WIDTH, "cell": CELL_LENGTH, "lanes": rules.lanes, "rows": rules.rows, "egoY": rules.ego_y},
            **{"carWidth": VEHICLE_WIDTH, "carLength": VEHICLE_LENGTH, "shoulder": SHOULDER, "period": PATTERN_PERIOD},
        },
        "trail": {
            **{"colours": TRAIL_COLOURS, "frames": TRAIL_FRAMES, "halfWidth": TRAIL_HALF_WIDTH},
            **{"taper": TRAIL_TAPER, "fade": TRAIL_FADE, "power": TRAIL_FADE_POWER},
        },
        "carImage": {
            **{"types": ["image/png", "image/jpeg", "image/webp"], "maxBytes": MAX_BYTES},
            **{"minSide": MIN_SIDE, "maxSide": MAX_SIDE},
        },
        "map": {"levels": LEVELS, "top": TOP_MARK},
        "speedFrames": SPEED_FRAMES,
        "mphPerPx": MPH_PER_PX,
        "feetPerPx": FEET_PER_PX,
        "paces": PACES,
        "actions": list(ACTION_NAMES.values()),
        "keys": {name: int(action) for name, action in KEYS.items()},
        "limits": limits("deepqlearn"),
        "pqnLimits": limits("pqn"),
        "activations": list(ACTIVATIONS),
        "sandbox": sandbox_hash(),
        "firstPreset": FIRST_PRESET,
        "firstSeed": FIRST_SEED,
        "presetNames": {FIRST_PRESET: "our best of this learner", "pqn-quick": "PQN quick", "pqn-long": "PQN long"},
        "official": {year: asdict(protocol) for year, protocol in OFFICIAL.items()},
        "champions": [champion_facts(name) for name in [FIRST, *(each for each in names if each != FIRST)]],
        "known": [list(each) for each in KNOWN_SCORES]
        + [[name, CHAMPIONS[name].other_agents, CHAMPIONS[name].official_mph] for name in names],
    }


def champion_facts(name: str) -> dict[str, Any]:
    """Return what the page shows of a champion."""
    champion = CHAMPIONS[name]
    return {"name": name, "otherAgents": champion.other_agents, "algorithm": champion.algorithm}


def limits(learner: str) -> dict[str, Any]:
    """Return the limits of a learner's numeric settings, by name, as JSON schemas."""
    config = build_config(learner)
    found: dict[str, Any] = {}
    for part in (config, config.road, config.observation, config.envs, config.agent):
        schemas = {each.name: each.metadata.get("schema") for each in fields(part)}
        found |= {name: schema for name, schema in schemas.items() if schema and "minimum" in schema}
    return found


def offline_script(files: dict[str, bytes]) -> bytes:
    """Return the service worker with the list of files that it keeps, and their digest."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(name.encode() + content)
    kept = sorted(name for name in files if name != "offline.js")
    head = f"const VERSION = {json.dumps(digest.hexdigest()[:16])};\nconst FILES = {json.dumps(kept)};\n"
    return head.encode() + files["offline.js"]


def write_site(folder: Path) -> int:
    """Write the site into a folder, which is created or must be empty or an older site; return its size [bytes]."""
    if folder.exists() and any(folder.iterdir()) and not (folder / "facts.js").is_file():
        raise ValueError(f"{folder} is not empty and holds no lab; give a new folder")
    files = site_files()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return sum(map(len, files.values()))


# --- server -----------------------------------------------------------------------------------------------------------


class SiteHandler(BaseHTTPRequestHandler):
    """Answers requests from the site's files."""

    protocol_version = "HTTP/1.1"

    def __init__(self, files: dict[str, bytes], *arguments: Any) -> None:
        self.files = files
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Send a file."""
        if (content := self.start_answer()) is not None:
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        """Send a file's headers."""
        self.start_answer()

    def start_answer(self) -> bytes | None:
        """Send the headers, and return the content of the file if there is one."""
        name = self.path.partition("?")[0].lstrip("/") or "index.html"
        content = self.files.get(name)
        if content is None:
            self.send_error(404)
            return None
        self.send_response(200)
        self.send_header("Content-Type", MIME_TYPES[PurePosixPath(name).suffix])
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        return content

    def log_message(self, *_: Any) -> None:
        """Print nothing."""


class SiteServer(ThreadingHTTPServer):
    """HTTP server of the site on this machine; port 0 takes any free one. Raises ValueError if the port is taken."""

    daemon_threads = True
    allow_reuse_address = sys.platform != "win32"  # there, it would let two servers share a port

    def __init__(self, port: int, files: Callable[[], dict[str, bytes]] = site_files) -> None:
        try:
            super().__init__((HOST, port), partial(SiteHandler, {}), bind_and_activate=True)
        except OSError as error:
            raise ValueError(f"the lab cannot listen at {HOST}, port {port}: {error}; give another --port") from None
        self.RequestHandlerClass = partial(SiteHandler, files())

    @property
    def url(self) -> str:
        """Return where the page is."""
        return f"http://{HOST}:{self.server_port}/"
