"""What the benchmarks share: timing things in turn, the tables they print, and reading the log p of an experiment."""

import contextlib
import csv
import io
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from engram.files import artifacts, inputs
from engram.models import LatentVariableModel, build, observations
from engram.runtime.stopping import Stop
from engram.training.plan import Plan
from engram.training.state import StateFolder
from engram.training.training import Training

MLP = {"name": "bernoulli_mlp_vae", "latent_dim": 16}
PAPERS_MODELS = {  # channels, latent_dim
    "bernoulli_mlp_vae": (1, 16),
    "gaussian_conv_vae": (3, 64),
    "gaussian_conv_vae_scalar_variance": (3, 32),
}


class StepsOnly(Training):
    """A training whose epochs end with the last step: no losses, nothing saved."""

    def _finish_epoch(self, folder: StateFolder, stop: Stop | None) -> None:
        self.epoch, self.block = self.epoch + 1, 0


def trained_by_engram(
    kind: type[Training],
    model: dict,
    image_shape: tuple[int, int, int],
    images: np.ndarray,
    folder: Path,
    epochs: int = 1,
    held_out: np.ndarray | None = None,
    folds: int = 1,
    device: torch.device | str = "cpu",
) -> Training:
    """`folds` models trained from new as engram trains them, each on all of `images` (n, pixels) uint8, batch 64, lr 1e-3.

    Their losses after an epoch are taken of `images` and of `held_out` (m, pixels).
    """
    everything = images if held_out is None else np.concatenate([images, held_out])
    plan = Plan(
        experiment="benchmark",
        repeat="repeat-00",
        model=model,
        image_shape=image_shape,
        epochs=epochs,
        batch_size=64,
        learning_rate=1e-3,
        scored_epochs=[],
        seed=42,
        folds=list(range(folds)),
        trained_on=[np.arange(len(images))] * folds,
        held_out=[np.arange(len(images), len(everything))] * folds,
    )
    training = kind(plan, torch.from_numpy(everything).to(device))
    training.run(StateFolder(folder, ""))
    return training


def trained_and_judged(
    name: str, channels: int, latent_dim: int, images: np.ndarray, epochs: int, judged: int
) -> tuple[LatentVariableModel, torch.Tensor]:
    """One of PAPERS_MODELS trained on images (n, 1 or 3, height, width) uint8, and x of the first `judged` of them.

    Grey images become three equal channels where the model wants three.
    """
    images = np.broadcast_to(images, (len(images), max(channels, images.shape[1]), *images.shape[2:]))
    shape, images = images.shape[1:], images.reshape(len(images), -1)
    settings = {"name": name, "latent_dim": latent_dim}
    with tempfile.TemporaryDirectory() as folder, quiet():
        pack = trained_by_engram(Training, settings, shape, images, Path(folder), epochs=epochs).packs[0]
    model = build(image_shape=shape, **settings).eval()
    model.load_state_dict(pack.state(0))
    grey = torch.from_numpy(images[:judged])
    uniforms = torch.rand(grey.shape, generator=torch.Generator().manual_seed(0))
    return model, observations.draw(grey, uniforms, model.observation).reshape(-1, *shape)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep progress bars and prints of both programs off the terminal."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def alternate(
    actions: Mapping[str, Callable[[], int]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, np.ndarray]:
    """Units per second by `clock` of each action, (rounds,); an action returns how many units it did.

    The actions take turns, every other round in reverse order, so that whatever else the machine does hits all alike.
    A first round is not counted: imports and first allocations belong to nobody.
    """
    rates = {name: np.zeros(rounds) for name in actions}
    for number in range(-1, rounds):
        for name in list(actions)[:: 1 if number % 2 else -1]:
            started = clock()
            with quiet():
                units = actions[name]()
            if number >= 0:
                rates[name][number] = units / (clock() - started)
    return rates


def spread(values: np.ndarray, digits: int = 2) -> str:
    """Median [lowest, highest]."""
    return f"{np.median(values):.{digits}f} [{values.min():.{digits}f}, {values.max():.{digits}f}]"


def print_table(rows: Sequence[Mapping[str, object]], path: Path | None = None) -> None:
    """Rows with the same keys as a Markdown table; also as CSV to `path`."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([str(row[name]) for name in names] for row in rows)]
    print("\n".join(f"| {' | '.join(line)} |" for line in lines), flush=True)
    if path:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)


def finished_log_px(experiment: Path, estimator: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What is there of an experiment at the last epoch scored so far, be it one repeat: log_px (models, draws, images), nats,
    in_training (models, images), repeat (models,), and which images are test images.
    """
    files = sorted(experiment.glob(f"likelihood/{estimator}/repeat-*/epoch-*.h5"))
    last = max(map(inputs.epoch_of, files))
    stored = [artifacts.read(path, "likelihood") for path in files if inputs.epoch_of(path) == last]
    repeat, fold, log_px = (
        np.concatenate([part[name].values for part in stored]) for name in ("repeat", "fold", "log_px")
    )
    membership = artifacts.read(experiment / "membership.h5", "membership")
    same_model = (membership.repeat.values == repeat[:, None]) & (membership.fold.values == fold[:, None])
    return (
        log_px,
        membership.in_training.values[same_model.argmax(1)],
        repeat,
        membership.split.values == artifacts.TEST,
    )
