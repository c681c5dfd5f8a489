"""What checks of a check-up are made with, for the program ``app`` and the prefix ``APP_``."""

from paceline.clock import SystemClock
from paceline.commands.doctor import DoctorRun, Purpose
from paceline.testing import SilentLog


def doctor_run(*, seconds: float = 3.0) -> DoctorRun:
    return DoctorRun(
        purpose=Purpose.SERVE,
        name="app",
        seconds=seconds,
        variable=lambda field: f"APP_{field.upper()}",
        log=SilentLog(),
        clock=SystemClock(),
    )
