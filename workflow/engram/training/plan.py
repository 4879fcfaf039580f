"""What is trained: the settings of config.yaml, and for each model of a repeat the images that it sees."""

from dataclasses import dataclass

import numpy as np

from engram.training.optimizers import Optimizer
from engram.training.schedules import kl_weight, learning_rate


@dataclass(frozen=True)
class Plan:
    """Config values, and for each model its fold's name and the images it sees and does not see.

    enters: for each model the number of epochs after which it is first shown each image of `trained_on`; None where that is 0
    for all.

    The settings of `training` have the names and the meanings that config.yaml gives them.
    """

    experiment: str
    repeat: str
    model: dict
    image_shape: tuple[int, int, int]
    epochs: int
    batch_size: int
    learning_rate: float
    scored_epochs: list[int]
    seed: int
    folds: list[int]
    trained_on: list[np.ndarray]
    held_out: list[np.ndarray]
    augmentation: str = "none"
    optimizer: str = "adam"
    weight_decay: float = 0.0
    momentum: float = 0.0
    gradient_clipping: float | None = None
    learning_rate_schedule: str = "constant"
    kl_warm_up: float = 0.0
    ema_decay: float | None = None
    enters: list[np.ndarray] | None = None

    def shown(self, position: int, epoch: int) -> np.ndarray:
        """The images that the model at `position` in `folds` is shown in the epoch that follows `epoch` finished ones."""
        images = self.trained_on[position]
        return images if self.enters is None else images[self.enters[position] <= epoch]

    def count_shown(self, epochs: int) -> int:
        """How many images all models together are shown in their first `epochs` epochs, each as often as it is shown."""
        if self.enters is None:
            return epochs * sum(map(len, self.trained_on))
        return sum(int(np.maximum(epochs - entered, 0).sum()) for entered in self.enters)

    def stream(self, position: int, *names: str | int) -> tuple[str | int, ...]:
        """The name of one random stream of the model at `position` in `folds`."""
        return (self.seed, "training", self.experiment, self.repeat, self.folds[position], *names)

    def of_step(self) -> Optimizer:
        """What a training step does with gradients."""
        return Optimizer(self.optimizer, self.weight_decay, self.momentum, self.gradient_clipping, self.ema_decay)

    def rates(self, epochs_done: float) -> tuple[float, float | None]:
        """Learning rate and weight of the KL divergence after so many epochs; None where the weight is always 1."""
        rate = learning_rate(self.learning_rate_schedule, self.learning_rate, epochs_done / self.epochs)
        return rate, kl_weight(epochs_done, self.kl_warm_up) if self.kl_warm_up else None


@dataclass
class Losses:
    """-ELBO per image in nats after each epoch, in eval mode: (epochs, models); NaN where there is no held-out image."""

    train: np.ndarray
    held_out: np.ndarray
