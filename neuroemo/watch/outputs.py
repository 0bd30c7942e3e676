"""Where the film and the table go: under other names while they grow, at their places when they are whole.

``OUT.partial.mp4`` and ``OUT.partial.csv`` are what a killed process leaves; both can be used as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hw_targets.finding import Finding, InputError


@dataclass(frozen=True, slots=True)
class Outputs:
    """The film ``film`` (.mp4) and the table ``table`` (.csv) of the recording ``source``.

    >>> outputs = Outputs(Path("a/b.mp4"), Path("a/b.csv"), Path("in.mov"))
    >>> outputs.growing_film.name, outputs.growing_table.name
    ('b.partial.mp4', 'b.partial.csv')
    """

    film: Path
    table: Path
    source: Path | None = None
    force: bool = False

    @property
    def growing_film(self) -> Path:
        """The film while it is written."""
        return self.film.with_name(f"{self.film.stem}.partial{self.film.suffix}")

    @property
    def growing_table(self) -> Path:
        """The table while it is written."""
        return self.table.with_name(f"{self.table.stem}.partial{self.table.suffix}")

    def check(self) -> None:
        """Check all paths at once, before anything is computed.

        Raises ``InputError``: E980 another suffix, E981 a file that is there already, or the watched file itself.
        """
        findings = []
        for path, suffix in ((self.film, ".mp4"), (self.table, ".csv")):
            if path.suffix.lower() != suffix:
                findings.append(Finding("E980", "error", str(path), f"suffix {path.suffix!r}", repr(suffix)))
            if self.source is not None and path.resolve() == self.source.resolve():
                fix = "choose another name"
                findings.append(Finding("E981", "error", str(path), "is the recording to watch", fix=fix))
            elif path.exists() and not (self.force and path.is_file()):
                fix = "choose another name, or --force" if path.is_file() else "choose another name"
                findings.append(Finding("E981", "error", str(path), "already exists", fix=fix))
        growing = [path for path in (self.growing_film, self.growing_table) if path.exists()]
        if not self.force:
            fix = "move it away, or --force; or another run is writing it now"
            found = "already exists: an earlier run left it when it was stopped"
            findings += [Finding("E981", "error", str(path), found, fix=fix) for path in growing]
        if findings:
            raise InputError(findings)

    def discard(self) -> None:
        """Remove what was begun, now or by an earlier run."""
        for path in (self.growing_film, self.growing_table):
            self._unlink(path)

    @staticmethod
    def _unlink(path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            found = f"cannot be removed: {error.strerror or error}"
            raise InputError(Finding("E982", "error", str(path), found, fix="check its rights")) from error
