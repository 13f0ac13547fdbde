"""Semantic segmentation (paradigm 4, encoder-decoder): road, lane mark, shoulder, vehicle or ego for every pixel.

Source: Ronneberger, Fischer and Brox 2015, "U-Net: Convolutional networks for biomedical image segmentation",
arXiv:1505.04597, figure 1. The encoder downsamples the frame, the decoder upsamples it again; skip connections pass the
fine maps on.

    >>> net = SegmentationNet(width=8)
    >>> fit(net, {"frame": frames, "labels": maps}, {"frame": more_frames, "labels": more_maps}, FitConfig())
    >>> net.predict(held_out_frames)                       # (B, H, W) uint8, indices of data.frames.CLASSES

Letters in shapes: B frames, T frames of a clip, H and W pixels, K classes, C channels of the widest maps.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from representation.data.frames import CLASSES, EGO
from representation.fit import Batch
from representation.metrics import confusion
from representation.saved_model import SavedModel

CHUNK = 128  # frames predicted at a time
PLACES = 2  # channels of the pixel's coordinates
SMALLEST_DEVIATION = 0.02  # of an image's levels, so that a uniform one is not amplified

F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]


class SegmentationNet(SavedModel):
    """A U-Net with two levels of downsampling.

    Args:
        width: maps of the first level; the second has twice, the third four times as many
        recolour: whether training mixes the colours of every frame at random, so that the network relies on shape and
            contrast
        ego_weight: weight of an ego pixel in the loss, as one vehicle of twenty
    """

    kind = "deeptraffic-segmentation"

    weights: Tensor

    def __init__(self, width: int = 8, recolour: bool = True, ego_weight: float = 4.0) -> None:
        super().__init__(width=width, recolour=recolour, ego_weight=ego_weight)
        self.recolour = recolour
        weights = [ego_weight if k == EGO else 1.0 for k in range(len(CLASSES))]
        self.register_buffer("weights", torch.tensor(weights))
        self.first = _twice(3 + PLACES, width)
        self.second = _twice(width, 2 * width)
        self.third = _twice(2 * width, 4 * width)
        self.up_second = nn.ConvTranspose2d(4 * width, 2 * width, 2, 2)
        self.down_second = _twice(4 * width, 2 * width)
        self.up_first = nn.ConvTranspose2d(2 * width, width, 2, 2)
        self.down_first = _twice(2 * width, width)
        self.read = nn.Conv2d(width, len(CLASSES), 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Return the logits (B, K, H, W) of frames (B, 3, H, W), uint8 or from `standardised`."""
        assert frames.dim() == 4 and frames.shape[1] == 3, f"{tuple(frames.shape)} is not (B, 3, H, W)"
        height, width = frames.shape[2:]
        image = standardised(frames) if frames.dtype == torch.uint8 else frames
        image = with_places(image)  # (B, 5, H, W)
        image = functional.pad(image, (0, -width % 4, 0, -height % 4), mode="replicate")  # both sides 4n
        image = image.contiguous(memory_format=torch.channels_last)  # half as fast again on CPUs
        fine = self.first(image)  # (B, C, H, W)
        middle = self.second(functional.max_pool2d(fine, 2))  # (B, 2C, H/2, W/2)
        coarse = self.third(functional.max_pool2d(middle, 2))  # (B, 4C, H/4, W/4)
        middle = self.down_second(torch.cat([middle, self.up_second(coarse)], 1))  # (B, 2C, H/2, W/2)
        fine = self.down_first(torch.cat([fine, self.up_first(middle)], 1))  # (B, C, H, W)
        return self.read(fine)[:, :, :height, :width]  # (B, K, H, W)

    def loss(self, batch: Batch, player: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """Return (cross-entropy of the pixels [nats], pixel accuracy) on frame (B, 3, H, W) and labels (B, H, W)."""
        image = standardised(batch["frame"])
        scores = self(recoloured(image) if self.recolour and self.training else image)  # (B, K, H, W)
        labels = batch["labels"].long()
        loss = functional.cross_entropy(scores, labels, self.weights)
        return loss, {"accuracy": (scores.argmax(1) == labels).float().mean()}

    def probabilities(self, frames: U8) -> NDArray[np.float32]:
        """Return the class probabilities of each pixel, (B, K, H, W), for frames (B, 3, H, W)."""
        return self.in_chunks(lambda piece: self(piece).softmax(1), frames, size=CHUNK)

    def predict(self, frames: U8) -> U8:
        """Return each pixel's most likely class, (B, H, W), for frames (B, 3, H, W)."""
        return self.in_chunks(lambda piece: self(piece).argmax(1).to(torch.uint8), frames, size=CHUNK)


def _twice(inputs: int, outputs: int) -> nn.Sequential:
    """Return two convolutions that keep the size, with batch normalisation.

    Source: Ioffe and Szegedy 2015, arXiv:1502.03167.
    """
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


def standardised(frames: Tensor) -> Tensor:
    """Return frames (B, 3, H, W) of uint8, standardised by each frame's brightness and contrast."""
    levels = frames.float() / 255.0
    middle = levels.mean((2, 3), keepdim=True)  # (B, 3, 1, 1)
    deviation = levels.std((1, 2, 3), keepdim=True)  # (B, 1, 1, 1)
    return (levels - middle) / deviation.clamp(min=SMALLEST_DEVIATION)


def with_places(images: Tensor) -> Tensor:
    """Return images (B, C, H, W) with two further channels of the pixel's coordinates in -1..1.

    They make a convolution aware of position: Liu et al. 2018, arXiv:1807.03247.
    """
    down, across = (torch.linspace(-1.0, 1.0, side, device=images.device) for side in images.shape[2:])
    places = torch.stack(torch.meshgrid(down, across, indexing="ij"))  # (2, H, W)
    return torch.cat([images, places.expand(len(images), -1, -1, -1)], 1)


def recoloured(images: Tensor) -> Tensor:
    """Return standardised frames (B, 3, H, W) with channels mixed by a random rotation per frame."""
    random = torch.randn(len(images), 3, 3, device=images.device)
    rotation, _ = torch.linalg.qr(random)  # (B, 3, 3), mirrored ones among them
    return torch.einsum("bij,bjhw->bihw", rotation, images)


# --- metrics ----------------------------------------------------------------------------------------------------------


def class_iou(table: NDArray[np.int64]) -> F64:
    """Return the intersection over union of each class, (K,), from a confusion table (K, K); NaN where it never occurs.

    Source: Everingham et al. 2015, doi:10.1007/s11263-014-0733-5, equation 3: hits / (hits + misses + false alarms).
    """
    hits = np.diag(table).astype(np.float64)
    union = table.sum(0) + table.sum(1) - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)


def mean_iou(predicted: U8, labels: U8) -> float:
    """Return the mean IoU of the classes, over all pixels of all frames."""
    return float(np.nanmean(class_iou(confusion(predicted.astype(np.int64), labels.astype(np.int64), len(CLASSES)))))
