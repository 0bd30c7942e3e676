"""How the process in which Lava runs begins: ``python -m hw_targets.loihi2.lava.start FOLDER``.

Before Lava is imported, this sees to it that an error is reported to the run's folder (``lava/failure.py``), and that
the process and all that it forks end when whoever started them does.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
import threading
import traceback
from pathlib import Path

from hw_targets.loihi2.lava.failure import report

SET_PARENT_DEATH_SIGNAL = 1
"""Option of Linux's prctl: the signal that this process gets when the one that started it ends."""


def end_with_parent() -> None:
    """Have Linux end this process when its parent ends, whatever either is doing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def main(folder: Path) -> int:
    """Run the job in ``folder``; return the exit status."""
    faulthandler.enable()
    end_with_parent()
    os.register_at_fork(after_in_child=end_with_parent)
    threading.excepthook = lambda caught: report(folder, caught.exc_value) if caught.exc_value else None
    try:
        from hw_targets.loihi2.lava import worker
    except ImportError as error:
        traceback.print_exc()
        report(folder, error, missing=True)
        return 1
    try:
        worker.main(folder)
    except BaseException as error:  # whatever it is, whoever waits for the result has to know
        traceback.print_exc()
        report(folder, error)
        return 1
    return 0


if __name__ == "__main__":
    status = main(Path(sys.argv[1]))
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Lava's threads and processes would keep an ordinary exit waiting after a failure.
    os._exit(status)
