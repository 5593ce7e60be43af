"""Class names, one a line in the order of a model's logits.

``imagenet-1k.txt``: the first WordNet lemma of each ILSVRC-2012 synset, synsets sorted by WordNet id; the second lemma, or what
tells them apart, is added where two classes share the first (crane, maillot).
"""

from __future__ import annotations

from importlib import resources

#: Task -> file of its class names.
FILES = {"classification": "imagenet-1k.txt"}


def labels_for(task: str | None) -> list[str] | None:
    """Class names of a task's output, or None where it has none."""
    if task not in FILES:
        return None
    return (resources.files(__name__) / FILES[task]).read_text(encoding="utf-8").splitlines()
