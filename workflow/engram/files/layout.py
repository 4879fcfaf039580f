"""Where the artifacts of an experiment lie: every path under results/, written down once.

Paths are plain text, relative to the folder of config.yaml, as rules and their wildcards want them.
"""

from dataclasses import dataclass

RESULTS = "results"


def dataset(name: str) -> str:
    """The images of a data set, which experiments share."""
    return f"{RESULTS}/datasets/{name}.h5"


@dataclass(frozen=True)
class Layout:
    """Paths of one experiment's artifacts, or of a reproduction's: `Layout("quickstart").scores("corrected")`.

    `Layout("{experiment}")` gives the same with Snakemake's wildcard, for rules.
    """

    name: str

    @property
    def folder(self) -> str:
        return f"{RESULTS}/{self.name}"

    @property
    def images(self) -> str:
        """The images of an experiment whose log p is given with images of its own: a data set, in the form of `dataset`."""
        return f"{self.folder}/dataset.h5"

    @property
    def membership(self) -> str:
        return f"{self.folder}/membership.h5"

    @property
    def report(self) -> str:
        """The page of a reproduction, or of an audit; other experiments share results/report.html."""
        return f"{self.folder}/report.html"

    @property
    def table(self) -> str:
        """The table of a reproduction."""
        return f"{self.folder}/reproduction.csv"

    def audit(self, ending: str = "h5") -> str:
        """What an experiment with a checkpoint found."""
        return f"{self.folder}/audit.{ending}"

    def model_check(self, digest: str) -> str:
        """What was looked for in the experiment's model before it was trained; `digest` is that of its settings and code."""
        return f"{self.folder}/model_check/{digest}.json"

    def models(self, repeat: str) -> str:
        return f"{self.folder}/models/{repeat}.h5"

    def likelihood(self, estimator: str, repeat: str, epoch: int | str) -> str:
        return f"{self.folder}/likelihood/{estimator}/{repeat}/epoch-{epoch}.h5"

    def scores(self, estimator: str, ending: str = "h5") -> str:
        return f"{self.folder}/scores/{estimator}.{ending}"

    def analysis(self, name: str) -> str:
        return f"{self.folder}/analyses/{name}.h5"

    def measures(self, ending: str = "h5") -> str:
        return f"{self.folder}/measures.{ending}"

    def figure(self, name: str, ending: str) -> str:
        return f"{self.folder}/figures/{name}.{ending}"
