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
class NoSample:
    """A model without images of its own, in an experiment with `analyses` that look at them."""

    model: str
    analyses: tuple[str, ...]
    method: str = "sample"

    def line(self, subject: str) -> str:
        key = f"{subject.removesuffix('.model')}.analyses"
        return (
            f"{subject}: {self.model} has no sample(n, observation, generator), which the analyses "
            f"{' and '.join(self.analyses)} need; define it ({DESCRIBED_IN}) or leave them out of {key}"
        )


@dataclass(frozen=True)
class NoProposal:
    """An estimator that asks a model for what it does not have."""

    model: str
    estimator: str
    proposal: str
    method: str

    def line(self, subject: str) -> str:
        key = f"{subject.removesuffix('.model')}.estimators"
        return (
            f"{subject}: {self.model} has no {self.method}, by which the estimator {self.estimator}, whose proposal is "
            f"{self.proposal}, has log p; define it ({DESCRIBED_IN}) or leave the estimator out of {key}"
        )


@dataclass(frozen=True)
class NoFit:
    """A model that cannot be fitted, in an experiment without a training."""

    model: str
    method: str = "fit"

    def line(self, subject: str) -> str:
        key = f"{subject.removesuffix('.model')}"
        return f"{subject}: {self.model} has no fit(x), so it must be trained; state {key}.training and {key}.scored_epochs"


@dataclass(frozen=True)
class NoTraining:
    """A model that can only be fitted, in an experiment with a training."""

    model: str
    method: str = "forward"

    def line(self, subject: str) -> str:
        key = f"{subject.removesuffix('.model')}"
        return (
            f"{subject}: {self.model} has no forward(x, noise), so it can only be fitted; leave out {key}.training and "
            f"{key}.scored_epochs"
        )


AnyFinding = Finding | WrongSetting | NotBuilt | NoSample | NoProposal | NoFit | NoTraining


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
