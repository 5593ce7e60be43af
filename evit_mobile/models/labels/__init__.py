"""Class names, one per line, in the order of a model's logits.

``imagenet-1k.txt``: the first WordNet lemma of each ILSVRC-2012 synset, synsets sorted by WordNet id; the second lemma,
or what tells them apart, is added where two classes share the first (crane, maillot). ``imagenet-1k-wordnet.txt``:
those WordNet ids, which name the folders in which ImageNet is handed out.

``coco-80.txt``: the 80 categories of COCO 2017's instance annotations, by category id. ``cityscapes-19.txt``: the
classes that Cityscapes evaluates, by train id.
"""

from __future__ import annotations

from importlib import resources

#: ImageNet-1k.
IMAGENET_CLASSES = 1000
#: Task -> class names of the data set that the paper's models of that task were trained for.
NAMES = {"classification": "imagenet-1k.txt", "detection": "coco-80.txt", "segmentation": "cityscapes-19.txt"}


def class_names(task: str, count: int) -> list[str]:
    """Names of ``count`` classes: those of the task's data set if it has that many, else ``class 0`` and so on."""
    return data_set_names(task, count) or [f"class {index}" for index in range(count)]


def data_set_names(task: str | None, count: int | None) -> list[str] | None:
    """Names of the classes of a task's data set, where it has ``count`` of them, or where that is not known (None)."""
    if task not in NAMES:
        return None
    names = (resources.files(__name__) / NAMES[task]).read_text(encoding="utf-8").splitlines()
    return names if count in (None, len(names)) else None


def wordnet_ids() -> list[str]:
    """ImageNet-1k's synsets by class number, e.g. ``n01440764``."""
    return (resources.files(__name__) / "imagenet-1k-wordnet.txt").read_text(encoding="utf-8").splitlines()
