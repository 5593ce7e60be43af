"""Train ``shapes-det`` and ``shapes-seg`` on drawings: ``python -m benchmarks.accuracy.train_shapes {det,seg} --out
FILE.safetensors``.

Takes minutes on one CPU core. The checkpoints in ``tests/data`` were made with ``--steps 700`` (det) and ``--steps
500`` (seg): on 24 held-out drawings boxes overlap by 0.93 on average and classes' masks by 0.94.
Drawings 0 to 999,999 are for training; tests use others.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.accuracy import shapes
from evit_mobile.models.heads import STRIDES, decode_boxes
from evit_mobile.models.shapes import CLASSES, SIDE, detector
from evit_mobile.specs import Resolution


def batch(seeds: list[int]) -> tuple[Tensor, list[shapes.Drawing]]:
    """Images [B, 3, SIDE, SIDE], normalised, and their drawings."""
    drawings = [shapes.draw(seed) for seed in seeds]
    images = np.concatenate([shapes.inputs(drawing) for drawing in drawings])
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), drawings


def segmentation_loss(module: nn.Module, images: Tensor, drawings: list[shapes.Drawing]) -> Tensor:
    """Cross-entropy of every pixel."""
    masks = torch.from_numpy(np.stack([drawing.mask for drawing in drawings]))
    return F.cross_entropy(module(images).permute(0, 3, 1, 2), masks)


def detection_loss(module: nn.Module, images: Tensor, drawings: list[shapes.Drawing]) -> Tensor:
    """As YOLOX: binary cross-entropy of objectness and class, IoU loss of boxes; a simple assignment by size and
    place.
    """
    module.head.decode = False  # type: ignore[union-attr]
    maps = module(images)
    levels = [(maps[at], maps[at + 1], maps[at + 2], maps[at + 3]) for at in range(0, len(maps), 4)]
    boxes, _ = decode_boxes(levels)
    objectness, classes = (torch.cat([level[at].flatten(1, 2) for level in levels], 1) for at in (2, 3))
    wanted_boxes, wanted_classes, positive = (
        torch.stack(part) for part in zip(*(_assign(drawing) for drawing in drawings))
    )
    target = F.one_hot(wanted_classes[positive], len(CLASSES)).float()
    count = max(1, int(positive.sum()))
    loss = F.binary_cross_entropy_with_logits(objectness[..., 0], positive.float(), reduction="sum")
    loss = loss + F.binary_cross_entropy_with_logits(classes[positive], target, reduction="sum")
    return (loss + 5 * (1 - _iou(boxes[positive], wanted_boxes[positive])).sum()) / count


def _assign(drawing: shapes.Drawing) -> tuple[Tensor, Tensor, Tensor]:
    """For every place: its box [M, 4], its class [M], and whether it has one [M]: the 3x3 cells round a box's centre,
    on one level.

    Boxes under 40 pixels go to stride 8, under 52 to 16, others to 32 (there, one cell).
    """
    parts = []
    for level, stride in enumerate(STRIDES):
        side = SIDE // stride
        boxes, classes, positive = (
            torch.zeros(side, side, 4),
            torch.zeros(side, side, dtype=torch.long),
            torch.zeros(side, side).bool(),
        )
        for box, kind in zip(torch.from_numpy(drawing.boxes), drawing.classes):
            size = float(box[2] - box[0])
            if (0 if size < 40 else 1 if size < 52 else 2) != level:
                continue
            x, y = (int(value) for value in (box[:2] + box[2:]) / 2 // stride)
            reach = 0 if level == 2 else 1
            cells = (slice(max(0, y - reach), y + reach + 1), slice(max(0, x - reach), x + reach + 1))
            boxes[cells], classes[cells], positive[cells] = box, int(kind), True
        parts.append((boxes.reshape(-1, 4), classes.reshape(-1), positive.reshape(-1)))
    boxes, classes, positive = (torch.cat(part) for part in zip(*parts))
    return boxes, classes, positive


def _iou(ours: Tensor, theirs: Tensor) -> Tensor:
    """Intersection over union of pairs, [K, 4] each -> [K]."""
    common = (
        (torch.minimum(ours[:, 2:], theirs[:, 2:]) - torch.maximum(ours[:, :2], theirs[:, :2])).clamp(min=0).prod(1)
    )
    return common / ((ours[:, 2:] - ours[:, :2]).prod(1) + (theirs[:, 2:] - theirs[:, :2]).prod(1) - common)


def train(task: str, steps: int, batch_size: int, seed: int) -> nn.Module:
    """AdamW with a one-cycle learning rate; prints the loss now and then."""
    torch.manual_seed(seed)
    module = (detector if task == "det" else shapes.segmenter)(Resolution(SIDE, SIDE), frozenset())
    if task == "det":
        for level in module.head.levels:  # type: ignore[union-attr]
            # An image has some 340 places and about ten of them hold a shape.
            nn.init.constant_(level.objectness.bias, -3.5)
            nn.init.constant_(level.size.bias, 1.0)
    loss_of = detection_loss if task == "det" else segmentation_loss
    optimiser = torch.optim.AdamW(module.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    rng, start = np.random.default_rng(seed), time.monotonic()
    module.train()
    for step in range(steps):
        images, drawings = batch([int(value) for value in rng.integers(0, 1_000_000, batch_size)])
        optimiser.zero_grad()
        loss = loss_of(module, images, drawings)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(module.parameters(), 5)
        optimiser.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step} of {steps}: loss {loss.item():.3f}, {time.monotonic() - start:.0f} s", flush=True)
    return module.eval()


def main() -> None:
    from safetensors.torch import save_model

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=["det", "seg"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    module = train(arguments.task, arguments.steps, arguments.batch, arguments.seed)
    save_model(module, str(arguments.out))


if __name__ == "__main__":
    main()
