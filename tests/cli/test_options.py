"""What several commands share."""

from __future__ import annotations

import io

from evit_mobile.cli.options import Announcer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_wait_that_goes_on_is_shown_every_ten_seconds() -> None:
    terminal, seconds = Terminal(), iter([*range(100, 112), 112])
    announce = Announcer(terminal, lambda: next(seconds))
    for second in range(12):
        announce(f"waiting for R58: it is at 45.{second} °C, {600 - second} s left")
    announce("pushing model.tflite to R58")
    assert terminal.getvalue().splitlines() == [
        "waiting for R58: it is at 45.0 °C, 600 s left",
        "waiting for R58: it is at 45.10 °C, 590 s left",
        "pushing model.tflite to R58",
    ]


def test_nothing_is_shown_in_a_log() -> None:
    log = io.StringIO()
    Announcer(log)("waiting")
    assert log.getvalue() == ""
