"""Runs under MediaPipe's own Python: what its tasks say of a picture.

``ask.py TASK FILE.tflite PICTURE.png OUT.npz``: the picture is given as it is, in RGB.
"""

from __future__ import annotations

import sys
from typing import Any

import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision


def classification(base: BaseOptions, image: Any) -> dict[str, Any]:
    with vision.ImageClassifier.create_from_options(vision.ImageClassifierOptions(base_options=base)) as task:
        found = sorted(task.classify(image).classifications[0].categories, key=lambda item: item.index)
    return {"scores": [item.score for item in found], "names": [item.category_name or "" for item in found]}


def segmentation(base: BaseOptions, image: Any) -> dict[str, Any]:
    options = vision.ImageSegmenterOptions(base_options=base, output_category_mask=True, output_confidence_masks=True)
    with vision.ImageSegmenter.create_from_options(options) as task:
        found, names = task.segment(image), task.labels
    masks = [mask.numpy_view()[..., 0].copy() for mask in found.confidence_masks]
    return {"mask": found.category_mask.numpy_view()[..., 0].copy(), "scores": np.stack(masks, -1), "names": names}


def detection(base: BaseOptions, image: Any) -> dict[str, Any]:
    with vision.ObjectDetector.create_from_options(vision.ObjectDetectorOptions(base_options=base)) as task:
        found = task.detect(image).detections
    boxes = [item.bounding_box for item in found]
    best = [item.categories[0] for item in found]
    return {
        "boxes": [(box.origin_x, box.origin_y, box.origin_x + box.width, box.origin_y + box.height) for box in boxes],
        "scores": [item.score for item in best],
        "names": [item.category_name for item in best],
    }


if __name__ == "__main__":
    kind, model, picture, out = sys.argv[1:]
    task = {"classification": classification, "segmentation": segmentation, "detection": detection}[kind]
    np.savez(out, **task(BaseOptions(model_asset_path=model), mp.Image.create_from_file(picture)))
