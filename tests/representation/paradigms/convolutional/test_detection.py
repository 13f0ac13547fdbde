"""Detection: the network finds vehicles in images, whatever their colours, from the pixels around each cell."""

import numpy as np
import pytest
import torch

from deeptraffic.sim.rules import RULES_2018
from representation.data.cells import RoadCells, true_cells
from representation.data.recording import Recording, observe_runs
from representation.fit import Arrays, FitConfig, fit
from representation.paradigms.convolutional.detection import GridDetector, recoloured, standardised

CLEAN = {"kind": "pixels", "height": 70, "width": 28, "temporal_window": 1}
Scenes = tuple[Arrays, RoadCells]


def scenes(recording: Recording, runs: int) -> Scenes:
    """Five scenes of each of so many runs."""
    cells = true_cells(recording.states[:runs, ::5].reshape(-1))
    obs = observe_runs(recording, CLEAN, every=5)[:runs].reshape(-1, 70, 28, 6)
    speed = cells.speed.astype(np.float32)
    return {"obs": obs, "occupied": cells.occupied, "speed": speed, "lane": cells.lane}, cells


@pytest.fixture(scope="module")
def sixty_four(driving: Recording) -> Scenes:
    return scenes(driving, 16)


def hits(detector: GridDetector, data: Arrays, cells: RoadCells) -> float:
    """F1 of occupied cells: 2 hits / (found + true)."""
    found = detector.cells(data["obs"]).occupied
    return 2.0 * float((found & cells.occupied).sum()) / float(found.sum() + cells.occupied.sum())


def trained(data: Arrays) -> GridDetector:
    torch.manual_seed(0)
    detector = GridDetector(CLEAN, recolour=0.0)
    config = FitConfig(epochs=40, batch_size=4, learning_rate=4e-3, patience=0)
    fit(detector, data, {name: array[:8] for name, array in data.items()}, config)
    return detector


def test_vehicles_are_found_after_sixty_four_scenes_but_not_from_shuffled_cells(
    sixty_four: Scenes, held_out: Recording
) -> None:
    data, cells = sixty_four
    test_data, test_cells = scenes(held_out, 10)
    detector = trained(data)
    assert hits(detector, data, cells) > 0.95
    everywhere = 2.0 * test_cells.occupied.mean() / (1.0 + test_cells.occupied.mean())  # F1 of "a car in every cell"
    assert hits(detector, test_data, test_cells) > everywhere + 0.5
    assert (detector.cells(test_data["obs"]).lane == test_cells.lane).mean() > 0.9
    order = np.random.default_rng(0).permutation(len(cells.lane))
    shuffled = {name: array if name == "obs" else array[order] for name, array in data.items()}
    assert hits(trained(shuffled), test_data, test_cells) < everywhere


def test_every_cell_is_answered_by_the_pixels_around_it() -> None:
    torch.manual_seed(0)
    detector = GridDetector()
    image = torch.zeros(1, 6, 70, 28)
    changed = image.clone()
    changed[:, :, 30, 12:16] = 1.0  # the pixels of cell (30, 3)
    touched = torch.nonzero((detector(image)[0] - detector(changed)[0]).abs().sum(1)[0] > 1e-7)
    assert [30, 3] in touched.tolist()
    assert (touched[:, 0].min() >= 22, touched[:, 0].max() <= 38) == (True, True)
    assert (touched[:, 1].min() == 2, touched[:, 1].max() == 4) == (True, True)


def test_standardised_images_do_not_depend_on_brightness_and_contrast() -> None:
    levels = torch.from_numpy(np.random.default_rng(0).integers(0, 100, (2, 70, 28, 6)).astype(np.uint8))
    dark, bright = standardised(levels), standardised(2 * levels + 30)
    assert torch.allclose(dark / dark.std((2, 3), keepdim=True), bright / bright.std((2, 3), keepdim=True), atol=1e-4)
    assert torch.allclose(dark.std((2, 3)), torch.ones(2, 6), atol=0.05)
    assert torch.isfinite(standardised(torch.zeros(1, 70, 28, 6, dtype=torch.uint8))).all()


def test_recolouring_turns_the_colours_of_both_images_alike() -> None:
    torch.manual_seed(0)
    image = torch.randn(2, 3, 5, 4)
    turned = recoloured(torch.cat([image, image], 1))
    assert torch.equal(turned[:, :3], turned[:, 3:])
    assert torch.allclose(turned[:, :3].norm(dim=1), image.norm(dim=1), atol=1e-5)
    assert not torch.allclose(turned[:, :3], image, atol=0.1)


def test_scenes_are_mirrored_with_what_is_true_of_them() -> None:
    torch.manual_seed(0)
    detector = GridDetector(recolour=0.0).train()
    obs = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (16, 70, 28, 6)).astype(np.uint8))
    occupied, lane = torch.rand(16, 70, 7) < 0.3, torch.arange(16) % 7
    images, cells, _, lanes = detector.augmented(obs, occupied, occupied.float(), lane)
    plain = standardised(obs)
    for k in range(16):
        is_turned = bool((images[k] == plain[k].flip(2)).all())
        assert is_turned or torch.equal(images[k], plain[k])
        assert torch.equal(cells[k], occupied[k].flip(1) if is_turned else occupied[k])
        assert lanes[k] == (6 - lane[k] if is_turned else lane[k])
    assert RULES_2018.lanes == 7
