"""What went wrong inside Lava, carried out of its processes in a file.

A process of Lava that raises only stops answering, and the run waits for it for ever. So the error is written to
``failure.json`` in the run's folder where it happens, and whoever started the run looks for that file.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

NAME = "failure.json"


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception: its type and message, the layer and the model it came from, Lava's time step (0: none), where.

    ``missing`` says that Lava itself could not be imported.
    """

    error: str
    message: str
    layer: str = ""
    model: str = ""
    step: int = 0
    line: str = ""
    missing: bool = False

    def __str__(self) -> str:
        """Render as one line.

        >>> print(Failure("TypeError", "no float", "conv1", "PyLifModelBitAcc", 3, "models.py:158"))
        TypeError: no float (in PyLifModelBitAcc, at time step 3, models.py:158)
        """
        places = [f"in {self.model}" if self.model else "", f"at time step {self.step}" if self.step else "", self.line]
        where = ", ".join(place for place in places if place)
        return f"{self.error}: {self.message}" + (f" ({where})" if where else "")


def report(
    folder: Path, error: BaseException, *, layer: str = "", model: str = "", step: int = 0, missing: bool = False
) -> None:
    """Write an exception to the folder of the run, unless another one came first."""
    calls = traceback.extract_tb(error.__traceback__)
    line = f"{Path(calls[-1].filename).name}:{calls[-1].lineno}" if calls else ""
    message = " ".join(str(error).split()) or "no message"
    failure = Failure(type(error).__name__, message, layer, model, step, line, missing)
    aside = folder / f"failure-{os.getpid()}-{threading.get_ident()}.partial"
    aside.write_text(json.dumps(asdict(failure)))
    # A link, unlike a rename, does not replace what is there: the first failure is the cause of the later ones.
    with contextlib.suppress(FileExistsError):
        os.link(aside, folder / NAME)
    aside.unlink()


def read(folder: Path) -> Failure | None:
    """Return the first failure of the run, or None."""
    try:
        return Failure(**json.loads((folder / NAME).read_text()))
    except FileNotFoundError:
        return None
