"""Non-maximum suppression, against torchvision's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evit_mobile.vision.boxes import overlap, select_boxes

ops = pytest.importorskip("torchvision.ops")


@pytest.mark.parametrize("seed", range(5))
def test_as_torchvision(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 80, (300, 2)), rng.uniform(5, 50, (300, 2))
    boxes = np.hstack([corner, corner + size]).astype(np.float32)
    scores = rng.uniform(0, 1, (300, 3)).astype(np.float32)
    boxes_kept = select_boxes(boxes, scores, threshold=0.5, iou=0.4, most=1000)
    best, classes = torch.from_numpy(scores).max(1)
    likely = best >= 0.5
    kept = ops.batched_nms(torch.from_numpy(boxes)[likely], best[likely], classes[likely], 0.4)
    assert np.array_equal(boxes_kept.boxes, boxes[likely.numpy()][kept.numpy()])
    assert np.array_equal(boxes_kept.scores, best[likely][kept].numpy())
    assert np.array_equal(boxes_kept.classes, classes[likely][kept].numpy())


def test_overlap_as_torchvision() -> None:
    boxes = np.array([[0, 0, 4, 4], [2, 2, 6, 6], [9, 9, 10, 10], [0, 0, 0, 0]], np.float32)
    expected = ops.box_iou(torch.from_numpy(boxes), torch.from_numpy(boxes))[0].numpy()
    np.testing.assert_allclose(overlap(boxes[0], boxes), expected, rtol=1e-6)


def test_empty_boxes_overlap_nothing() -> None:
    assert overlap(np.zeros(4, np.float32), np.zeros((1, 4), np.float32)) == [0]


def test_nothing_found() -> None:
    assert select_boxes(np.zeros((5, 4), np.float32), np.zeros((5, 2), np.float32)).boxes.shape == (0, 4)


def test_the_best_are_kept() -> None:
    boxes = np.array([[x, 0, x + 1, 1] for x in range(0, 20, 2)], np.float32)
    scores = np.linspace(0.4, 0.9, 10, dtype=np.float32)[:, np.newaxis]
    assert select_boxes(boxes, scores, most=3).scores.tolist() == pytest.approx([0.9, 0.8444, 0.7889], abs=1e-3)
