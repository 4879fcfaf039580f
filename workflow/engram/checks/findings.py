"""What a check says: a fault of a model, in one line, or that something could not be checked."""

from dataclasses import dataclass, field

from engram.errors import UserError
from engram.models.protocols import DESCRIBED_IN


@dataclass(frozen=True)
class Finding:
    """A fault: in which method of which class, what was expected there, and what was found."""

    model: str
    method: str
    expected: str
    observed: str

    def line(self, subject: str) -> str:
        """The finding as a user reads it; `subject` is what is examined, such as experiments.mine.model."""
        place = f"{subject}: {self.model}.{self.method}"
        return f"{place}: expected {self.expected}; found {self.observed} ({DESCRIBED_IN})"


@dataclass(frozen=True)
class WrongSetting:
    """A value in config.yaml that is of no type the model takes."""

    setting: str
    value: object
    must_be: str
    method: str = "__init__"

    def line(self, subject: str) -> str:
        return f"{subject}.{self.setting}: is {self.value!r}, must be {self.must_be}"


@dataclass(frozen=True)
class NotBuilt:
    """What a model's building raised, in its own words."""

    said: str
    method: str = "__init__"

    def line(self, subject: str) -> str:
        return f"{subject}: {self.said}"


@dataclass(frozen=True)
class Lacking:
    """A method that the experiment asks for and the model does not have, such as "fit(x)", and what to do about it.

    In `therefore`, "{experiment}" stands for the experiment's key in config.yaml.
    """

    model: str
    signature: str
    therefore: str

    @property
    def method(self) -> str:
        return self.signature.partition("(")[0]

    def line(self, subject: str) -> str:
        therefore = self.therefore.replace("{experiment}", subject.removesuffix(".model"))
        return f"{subject}: {self.model} has no {self.signature}, {therefore}"


AnyFinding = Finding | WrongSetting | NotBuilt | Lacking


class Fault(Exception):
    """Raised by a check that has found something."""

    def __init__(self, finding: AnyFinding):
        super().__init__(finding)
        self.finding = finding


class NotChecked(Exception):
    """Raised by a check that cannot tell, with the reason."""


@dataclass
class Outcome:
    """All that was found in one model, what was checked, and what could not be and why."""

    findings: list[AnyFinding] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)

    def raise_findings(self, subject: str) -> None:
        """Raise UserError with a line for each finding, if there is any; `subject` is what the lines begin with."""
        if self.findings:
            raise UserError("\n".join(finding.line(subject) for finding in self.findings))
