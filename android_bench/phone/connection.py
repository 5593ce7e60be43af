"""A phone that may go away for a while and come back."""

from __future__ import annotations

from typing import Callable, TypeVar

from android_bench.device import DeviceOptions, UnusableDeviceError
from android_bench.phone.adb import Adb, Output
from android_bench.phone.adjustments import Adjustments
from android_bench.phone.errors import AdbError, TransientAdbError

T = TypeVar("T")


class Connection:
    """What measures a phone speaks to it through this, so that a cable that is pulled and plugged in again costs a
    retry and not the measurement.

    Args:
        adb: the phone.
        adjustments: what is set on it, and must be set again when it comes back.
        options: how long to wait for it, and who hears of it.
    """

    def __init__(self, adb: Adb, adjustments: Adjustments, options: DeviceOptions) -> None:
        self.adb, self._adjustments, self.options = adb, adjustments, options

    def retried(self, action: Callable[[], T]) -> T:
        """``action``, and once more if the phone or the server went away and came back.

        Raises:
            UnusableDeviceError: the phone did not come back, or adb failed for a reason that stays.
        """
        serial = self.adb.serial
        try:
            return action()
        except TransientAdbError as error:
            self.options.say(f"waiting for {serial}: {error.message}")
            try:
                self.adb.server.await_device(serial, self.options.reconnect_s)
                self._adjustments.renew()
                return action()
            except TransientAdbError as again:
                raise UnusableDeviceError(
                    f"device {serial} went away and did not come back: {again.message}",
                    hint=again.hint or "is the cable loose?",
                ) from again
            except AdbError as again:
                raise UnusableDeviceError(again.message, hint=again.hint) from again
        except AdbError as error:
            # It is adb or the device that failed, and no model.
            raise UnusableDeviceError(error.message, hint=error.hint) from error

    def shell(self, script: str) -> Output:
        """``Adb.shell`` with a retry."""
        return self.retried(lambda: self.adb.shell(script))
