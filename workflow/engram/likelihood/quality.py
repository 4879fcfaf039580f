"""What an experiment's estimates of log p are worth, in three shares: how many of them the importance samples cannot carry."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

FEW = 2.0  # effective samples: below, one sample is nearly all of the estimate
UNRELIABLE_K = 0.7  # Pareto shape above which neither log p nor its standard error converges (Vehtari et al. 2024)
TOLERATED = {"share_fell_back": 0.01, "share_few_effective": 0.05, "share_unreliable_k": 0.1}  # above, a reader is told


@dataclass(frozen=True)
class Quality:
    """Shares of estimates, each NaN where it is not defined: those that got the encoder's proposal where another was asked for,
    those of fewer than 2 effective samples, and those whose Pareto k exceeds 0.7; and the median of effective samples.

    Few samples (below 21) have no Pareto k; an exact log p has no samples, and so neither.
    """

    share_fell_back: float
    share_few_effective: float
    share_unreliable_k: float
    median_effective_samples: float

    @classmethod
    def of(cls, fell_back: np.ndarray, effective_samples: np.ndarray, pareto_k: np.ndarray) -> "Quality":
        """From arrays of one shape, one value an estimate.

        >>> Quality.of(np.array([False, True]), np.array([1.5, 8.0]), np.array([np.nan, np.nan])).share_few_effective
        0.5
        """
        effective, k = (values[np.isfinite(values)] for values in (effective_samples, pareto_k))
        return cls(
            share_fell_back=float(np.mean(fell_back)),
            share_few_effective=float(np.mean(effective < FEW)) if len(effective) else float("nan"),
            share_unreliable_k=float(np.mean(k > UNRELIABLE_K)) if len(k) else float("nan"),
            median_effective_samples=float(np.median(effective)) if len(effective) else float("nan"),
        )

    @classmethod
    def read(cls, attributes: Mapping[str, Any]) -> "Quality | None":
        """From the attributes of scores/{estimator}.h5, or None where they do not hold it."""
        if not set(cls.__dataclass_fields__) <= set(attributes):
            return None
        return cls(**{name: float(np.ravel(attributes[name])[0]) for name in cls.__dataclass_fields__})

    def attributes(self) -> dict[str, float]:
        """As attributes of an artifact."""
        return asdict(self)

    def warnings(self) -> list[str]:
        """A sentence for each share above what is tolerated; none where the estimates can be trusted."""
        reasons = {
            "share_fell_back": "got the model's own proposal in place of the one asked for, so their log p is too low",
            "share_few_effective": f"rest on fewer than {FEW:g} effective samples, so their log p is too low",
            "share_unreliable_k": f"have a Pareto k above {UNRELIABLE_K}, so neither log p nor its standard error can be trusted",
        }
        return [
            f"{100 * getattr(self, name):.0f} % of the estimates of log p {reason}."
            for name, reason in reasons.items()
            if getattr(self, name) > TOLERATED[name]
        ]

    def rows(self) -> dict[str, str]:
        """For a table, by heading."""
        shares = {
            "fell back to the own proposal": self.share_fell_back,
            f"effective samples below {FEW:g}": self.share_few_effective,
            f"Pareto k above {UNRELIABLE_K}": self.share_unreliable_k,
        }
        text = {name: "-" if np.isnan(share) else f"{100 * share:.1f} %" for name, share in shares.items()}
        median = "-" if np.isnan(self.median_effective_samples) else f"{self.median_effective_samples:.1f}"
        return {"effective samples, median": median} | text
