"""What is wrong with an input, a model or a result, and the one family of exceptions that carries it.

A finding is data, so that a console line, a JSON object and a documentation row are renderings of the
same thing. Every exception of the toolkit carries a list of findings and the exit code of the command
line; the text is built here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: what, where, against which limit, by how much, and what to do about it.

    >>> print(Finding("E000", "error", "features.3", "threshold mantissa 140000", "131071", "8929", "rescale"))
    E000 features.3: threshold mantissa 140000; limit 131071, over by 8929
         rescale
    """

    code: str
    severity: Severity
    node: str
    found: str
    limit: str = ""
    over: str = ""
    fix: str = ""

    def __str__(self) -> str:
        """Render the finding as one line, and the remedy as an indented second line."""
        bound = f"; limit {self.limit}" if self.limit else ""
        excess = f", over by {self.over}" if self.over else ""
        where = f" {self.node}" if self.node else ""
        remedy = f"\n     {self.fix}" if self.fix else ""
        return f"{self.code}{where}: {self.found}{bound}{excess}{remedy}"

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as a JSON-ready dictionary."""
        return asdict(self)


CAPACITY_CODES = ("E21", "E23", "E3")
"""How the codes begin that say: expressible, but over a limit. Every other error of a target: unsupported."""


def refusal_code(findings: Iterable[Finding]) -> int:
    """Return the exit code of a target's findings: 3 unsupported outranks 4 does not fit; 0 without errors.

    >>> refusal_code([Finding("E3", "error", "fc1", "too big"), Finding("W2", "warning", "fc1", "zeros")])
    4
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return 0
    return 4 if all(finding.code.startswith(CAPACITY_CODES) for finding in errors) else 3


def refuse(findings: Iterable[Finding]) -> None:
    """Raise the error that fits, with all findings, if any of them is an error."""
    listed = tuple(findings)
    match refusal_code(listed):
        case 3:
            raise UnsupportedError(listed)
        case 4:
            raise CapacityError(listed)


class NeuroEmoError(Exception):
    """Base of every error a user can cause; carries all findings at once and the process exit code."""

    exit_code: ClassVar[int] = 1

    def __init__(self, findings: Finding | Iterable[Finding]) -> None:
        self.findings: tuple[Finding, ...] = (findings,) if isinstance(findings, Finding) else tuple(findings)
        super().__init__("\n".join(str(finding) for finding in self.findings))


class InputError(NeuroEmoError):
    """A file, a folder or an argument cannot be used (exit code 2)."""

    exit_code = 2


class UnsupportedError(NeuroEmoError):
    """The model uses something that the target cannot express (exit code 3)."""

    exit_code = 3


class CapacityError(NeuroEmoError):
    """The model is expressible but exceeds a limit of the target (exit code 4)."""

    exit_code = 4


class VerificationError(NeuroEmoError):
    """Something was written, and does not compute what it should (exit code 5)."""

    exit_code = 5


class MissingDependencyError(NeuroEmoError):
    """An optional package or a device is not there (exit code 6)."""

    exit_code = 6
