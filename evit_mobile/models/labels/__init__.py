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
#: Task -> file of its class names.
FILES = {"classification": "imagenet-1k.txt"}
#: Task -> class names of the data set that the paper's models of that task were trained for.
NAMES = {**FILES, "detection": "coco-80.txt", "segmentation": "cityscapes-19.txt"}


def class_names(task: str, count: int) -> list[str]:
    """Names of ``count`` classes: those of the task's data set if it has that many, else ``class 0`` and so on."""
    names = (resources.files(__name__) / NAMES[task]).read_text(encoding="utf-8").splitlines() if task in NAMES else []
    return names if len(names) == count else [f"class {index}" for index in range(count)]


def wordnet_ids() -> list[str]:
    """ImageNet-1k's synsets by class number, e.g. ``n01440764``."""
    return (resources.files(__name__) / "imagenet-1k-wordnet.txt").read_text(encoding="utf-8").splitlines()


def labels_for(task: str | None) -> list[str] | None:
    """Class names of a task's output, or None if it has none."""
    if task not in FILES:
        return None
    return (resources.files(__name__) / FILES[task]).read_text(encoding="utf-8").splitlines()
