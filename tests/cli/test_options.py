"""What several commands share."""

from __future__ import annotations

import sys

import pytest

from evit_mobile.cli import options


def test_a_wait_that_goes_on_is_told_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(options, "_last_said", ("", 0.0))
    now = [100.0]
    monkeypatch.setattr(options.time, "monotonic", lambda: now[0])
    for second in range(12):
        now[0] = 100.0 + second
        options.say(f"waiting for R58: it is at 45.{second} °C, {600 - second} s left")
    options.say("pushing model.tflite to R58")
    assert capsys.readouterr().err.splitlines() == [
        "waiting for R58: it is at 45.0 °C, 600 s left",
        "waiting for R58: it is at 45.10 °C, 590 s left",
        "pushing model.tflite to R58",
    ]


def test_nothing_is_said_into_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    options.say("waiting")
    assert capsys.readouterr().err == ""
