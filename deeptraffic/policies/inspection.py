"""Inspection of a policy file: its manifest, its layers, and a plot of its first weights over the sensor.

>>> rich.print(describe(read_policy("mine.safetensors")))
>>> draw_first_layer(read_policy("mine.safetensors"), "mine.png")
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table
from rich.text import Text

from deeptraffic.policies import layers as v
from deeptraffic.policies.base import Policy
from deeptraffic.policies.file import PolicyFile
from deeptraffic.policies.gaps import GAP_FEATURES
from deeptraffic.policies.layer import Layer, size
from deeptraffic.policies.manifest import EnvObservationRecord, ObservationRecord
from deeptraffic.policies.network import Network
from deeptraffic.policies.network_policy import NetworkPolicy
from deeptraffic.policies.sensor_layers import Gaps
from deeptraffic.sim.rules import VEHICLE_CELLS, Sensor

MAX_PANELS = 36
GAP_NAMES = ("ahead", "its speed", "behind", "its speed", "clear", "on road")


def summarise(policy_file: PolicyFile) -> dict[str, Any]:
    """Return the manifest and the sizes of the network as one JSON object."""
    network = policy_file.network
    layers = [
        record | {"output_shape": list(shape), "parameters": count, "operations": operations}
        for record, shape, count, operations in _rows(policy_file)
    ]
    sizes = {"inputs": network.inputs, "parameters": network.parameters, "storage": storage(policy_file)}
    return policy_file.manifest.to_json() | {"access": policy_file.manifest.access, "layers": layers} | sizes


def policy_facts(policy: Policy) -> tuple[tuple[str, str], ...]:
    """Return (caption, value) pairs for a card about a policy: what it sees, and the size of its network."""
    seen = policy.observation
    facts = [("INPUT", f"{seen.size} cells" if isinstance(seen, Sensor) else seen.kind.replace("_", " "))]
    made = policy.as_network()
    if isinstance(made, NetworkPolicy):
        weighted = {name.partition(".")[0] for name in made.network.tensor_shapes()}
        facts += [("LAYERS WITH WEIGHTS", f"{len(weighted)}"), ("PARAMETERS", f"{made.network.parameters:,}")]
    return tuple(facts)


def storage(policy_file: PolicyFile) -> str:
    """Types in which the tensors are stored, such as "float32"; computation is always in float64."""
    return ", ".join(sorted({str(t.dtype) for t in policy_file.network.tensors.values()})) or "no tensors"


def _rows(policy_file: PolicyFile) -> list[tuple[dict[str, Any], tuple[int, ...], int, int]]:
    """Each layer's JSON form, output shape, number of parameters and of multiplications."""
    network = policy_file.network
    rows = []
    for layer, given, shape in zip(network.layers, network.given_shapes(), network.shapes()[1:], strict=True):
        count = sum(size(tensor) for tensor in layer.tensor_shapes(given).values())
        rows.append((layer.to_json(), shape, count, layer.operations(given)))
    return rows


def describe(policy_file: PolicyFile) -> Group:
    """Return manifest, layers and parameter count as tables for a terminal; texts of the file are shown as they are."""
    m, network = policy_file.manifest, policy_file.network
    seen, drawn = m.observation, m.action.rule == "sample"
    rule = f"drawn by the softmax, seed {m.action.seed}" if drawn else "the first of the largest outputs"
    each = f", probabilities {', '.join(f'{p:g}' for p in m.random_actions)}" if m.random_actions else ""
    facts = {
        "label": m.label,
        "author": m.author or "not named",
        "created": m.created or "unknown",
        "made for": f"rules of {m.rules}, {m.other_agents} other agents",
        "sees": f"{_seen(seen)}, {m.access}), {seen.temporal_window} earlier decisions",
        "action": f"{rule}; {100 * m.epsilon:g}% at random (epsilon {m.epsilon:g}{each})" if m.epsilon else rule,
        "network": f"{inputs_of(network)}, {network.parameters:,} parameters stored as {storage(policy_file)}",
        **{f"training: {name}": json.dumps(fact, ensure_ascii=False) for name, fact in m.training.items()},
    }
    head = Table(show_header=False, box=None)
    for name, value in facts.items():
        head.add_row(Text(name, "bold"), Text(value))
    return Group(head, "", _layer_table(policy_file))


def _seen(seen: ObservationRecord | EnvObservationRecord) -> str:
    """What a network reads in words, up to an open bracket."""
    if isinstance(seen, EnvObservationRecord):
        options = "".join(f", {name} {value}" for name, value in seen.options.items())
        return f"{seen.kind}{options} ({seen.size} values"
    side, ahead, behind = seen.sensor
    return f"{side} lanes a side, {ahead} cells ahead, {behind} behind ({seen.sensor.size} cells"


def inputs_of(network: Network) -> str:
    """How many inputs a network has, and how many of them it reads."""
    if network.inputs_read == network.inputs:
        return f"{network.inputs} inputs"
    return f"{network.inputs} inputs, of which it reads only the first {network.inputs_read}"


def _layer_table(policy_file: PolicyFile) -> Table:
    table = Table("", "layer", "settings", "output", box=None, header_style="bold")
    for column in ("parameters", "multiplications"):
        table.add_column(column, justify="right")
    rows = _rows(policy_file)
    for number, (record, shape, count, operations) in enumerate(rows, start=1):
        settings = ", ".join(f"{name} {value}" for name, value in record.items() if name != "type")
        shown = " x ".join(map(str, shape))
        table.add_row(str(number), record["type"], Text(settings), shown, f"{count:,}", f"{operations:,}")
    totals = (f"{sum(row[2] for row in rows):,}", f"{sum(row[3] for row in rows):,}")
    table.add_row("", "all", "", "", *totals, style="bold")
    return table


# --- the first layer ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FirstLayer:
    """The first weights over the network's input.

    number, kind: index of the layer, from 1, and its type
    weight: (units, rows, columns) float64
    over: "sensor", rows P + Q and columns 2L + 1; "gaps", the six lane features by the lanes; or "window", a kernel's
    """

    number: int
    kind: str
    weight: NDArray[np.float64]
    over: str


def first_layer(policy_file: PolicyFile) -> FirstLayer:
    """Return the first weights that meet the sensor's present cells; ValueError if no layer's do."""
    network, sensor = policy_file.network, policy_file.manifest.observation.sensor
    if isinstance(policy_file.manifest.observation, EnvObservationRecord):
        raise ValueError("the network reads no sensor's cells, of which its weights could be drawn")
    starts: dict[int, int] = {0: 0}  # values that are still cells: index, and where the cells start
    gaps: dict[int, int] = {}  # values that are lane-gap features
    for number, layer in enumerate(network.layers, start=1):
        source = network.sources(number)[0]
        weight = _dense_weight(policy_file, number, layer)
        if _keeps_places(layer):
            starts |= {number: starts[source]} if source in starts else {}
            gaps |= {number: 0} if source in gaps else {}
        elif isinstance(layer, Gaps):
            gaps[number] = 0
        elif isinstance(layer, v.Slice) and source in starts and layer.start == 0:
            starts[number] = 0
        elif isinstance(layer, v.Conv2d) and source in starts:
            kernels = np.asarray(network.tensors[f"{number}.weight"], np.float64)
            flat = np.moveaxis(kernels, 3, 1).reshape(-1, *layer.kernel)
            return FirstLayer(number, layer.kind, flat, "window")
        elif weight is not None and source in starts:
            cells = np.zeros((len(weight), sensor.size))  # cells that it does not read have weight 0
            cells[:, : weight.shape[1]] = weight[:, : sensor.size]
            return FirstLayer(number, layer.kind, cells.reshape(-1, sensor.length, sensor.columns), "sensor")
        elif weight is not None and source in gaps:
            lanes = weight.reshape(len(weight), -1, GAP_FEATURES).transpose(0, 2, 1)
            return FirstLayer(number, layer.kind, lanes, "gaps")
    raise ValueError("no dense, recurrent or convolutional layer reads the sensor's cells or lane gaps directly")


def _keeps_places(layer: Layer) -> bool:
    """Whether a layer acts element by element."""
    if isinstance(layer, v.Flatten):
        return layer.order == "hwc"
    return isinstance(layer, v.Reshape | v.Scale | v.Clip | v.Dropout)


def _dense_weight(policy_file: PolicyFile, number: int, layer: Layer) -> NDArray[np.float64] | None:
    """(units, inputs) of a dense or recurrent layer."""
    names = {v.Dense: "weight", v.Rnn: "weight_input", v.Gru: "weight_input", v.Lstm: "weight_input"}
    if type(layer) not in names:
        return None
    return np.asarray(policy_file.network.tensors[f"{number}.{names[type(layer)]}"], np.float64)


def draw_first_layer(policy_file: PolicyFile, path: str | Path) -> None:
    """Write a plot (PNG) of the first weights, a panel per unit: ahead is up, the own car is framed.

    All panels share one scale, red above 0 and blue below. Of more than 36 units the strongest are drawn.
    """
    from deeptraffic.figure import save_figure

    found, sensor = first_layer(policy_file), policy_file.manifest.observation.sensor
    strength = np.sqrt((found.weight**2).sum(axis=(1, 2)))
    units = np.sort(np.argsort(-strength, kind="stable")[:MAX_PANELS])
    figure, panels, bar = _frame(found, len(units))
    limit = float(np.abs(found.weight).max()) or 1.0
    for axes, unit in zip(panels, units, strict=False):
        image = axes.imshow(
            found.weight[unit], cmap="RdBu_r", vmin=-limit, vmax=limit, aspect=_aspect(found), interpolation="nearest"
        )
        axes.set_title(str(unit), fontsize=8, pad=3)
        _mark(axes, found, sensor)
    figure.colorbar(image, cax=bar).ax.tick_params(labelsize=7)
    what = {"sensor": "over the sensor's cells", "gaps": "over lane gaps", "window": "of its windows"}[found.over]
    count = f"the {len(units)} strongest of {len(strength)}" if len(units) < len(strength) else f"{len(units)}"
    label = policy_file.manifest.label.replace("$", r"\$")  # no formula
    title = f"{label}: layer {found.number} ({found.kind}) {what}, {count} units"
    figure.suptitle(title, fontsize=10, y=1 - 0.1 / figure.get_figheight())
    save_figure(figure, path)


def _aspect(found: FirstLayer) -> float:
    """Height of a cell by its width: 10 px of road by 20."""
    return 0.5 if found.over == "sensor" else 1.0


def _frame(found: FirstLayer, count: int) -> tuple[Any, list[Any], Any]:
    """A figure, a panel for each of `count` units, and a place for the colour bar."""
    from deeptraffic.figure import empty_figure

    across = min(count, 12)
    down = -(-count // across)
    _, rows, columns = found.weight.shape
    tall = min(3.2, max(0.7, 0.9 * rows * _aspect(found) / columns))  # [inches] of a panel
    left = 0.8 if found.over == "gaps" else 0.25
    width, height = max(6.5, left + across + 1.1), 0.65 + (tall + 0.25) * down
    figure = empty_figure((width, height))
    figure.set_layout_engine(None)  # panels are placed by hand
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    figure.subplots_adjust(left / width, 0.1 / height, 1 - 1 / width, 1 - 0.5 / height, 0.15, 0.25 / tall)
    for number, axes in enumerate(panels):
        axes.set_xticks([])
        axes.set_yticks([])
        if found.over == "gaps" and number % across == 0:
            axes.set_yticks(range(GAP_FEATURES), GAP_NAMES, fontsize=6)
        if number >= count:
            axes.set_axis_off()
    return figure, panels, figure.add_axes((1 - 0.8 / width, 0.15, 0.15 / width, 0.65))


def _mark(axes: Any, found: FirstLayer, sensor: Sensor) -> None:
    """Frame the own car's cells, or its lane."""
    from matplotlib.patches import Rectangle

    if found.over == "sensor":
        corner = (sensor.lanes_side - 0.5, sensor.patches_ahead - 0.5)
        axes.add_patch(Rectangle(corner, 1, min(VEHICLE_CELLS, sensor.patches_behind), fill=False, lw=0.9, ec="black"))
        axes.axhline(sensor.patches_ahead - 0.5, lw=0.4, color="grey")
    elif found.over == "gaps":
        axes.add_patch(Rectangle((sensor.lanes_side - 0.5, -0.5), 1, GAP_FEATURES, fill=False, lw=0.9, ec="black"))
