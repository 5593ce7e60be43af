"""``--device`` as text."""

from __future__ import annotations

import pytest

from android_bench.device import KINDS, DeviceOptions, open_device
from evit_mobile.errors import RequestError


def test_every_registered_kind_can_be_imported() -> None:
    import importlib

    for kind, entry in KINDS.items():
        assert entry.form.startswith(kind)
        assert callable(importlib.import_module(entry.module).open_device)


@pytest.mark.parametrize("text", ["phone", "", ":host", "HOST", "hosts:1"])
def test_an_unknown_kind_names_the_known_ones(text: str) -> None:
    with pytest.raises(RequestError, match="host"):
        open_device(text)


def test_the_host_has_no_address() -> None:
    with pytest.raises(RequestError, match="no address"):
        open_device("host:5555")


def test_an_unknown_runtime_names_the_known_ones() -> None:
    with pytest.raises(RequestError, match="litert"):
        open_device("host", DeviceOptions(runtime="onnx"))
