"""Training the models of one repeat in lockstep, so that an interruption costs at most a minute and changes no bit.

The objective is the one-sample evidence lower bound, summed over the batch; x is drawn anew each time an image is seen
(dynamic binarization). Time is cut into blocks of steps: random streams are named by epoch and block, so the state between two
blocks is just the parameters and Adam's moments.
"""

import time
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from engram.errors import UserError, about
from engram.models import observations
from engram.models.building import build
from engram.randomness import generator, torch_generator
from engram.runtime.device import at_once
from engram.runtime.jobs import Progress, log
from engram.runtime.stopping import Stop
from engram.training.augmentation import flip_horizontally
from engram.training.lockstep import Pack
from engram.training.state import StateFolder

STEPS_PER_BLOCK = 32
SAVE_EVERY = 30  # seconds between saves of the state
LARGEST_PACK = 32  # models; more would fill a GPU's memory and no longer its gaps
IMAGES_FOR_LOSS = 10_000  # at most so many fixed images for each loss
DIVERGED = 10  # training stops when the loss exceeds its first value by so many times that value


def models_per_pack(device: torch.device, models: int) -> int:
    """How many models advance as one: on a GPU all, if not too many, on a CPU one, whose weights then stay in the cache."""
    return 1 if device.type == "cpu" else min(models, LARGEST_PACK)


@dataclass(frozen=True)
class Plan:
    """What is trained: config values, and for each model its fold's name and the images it sees and does not see."""

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
    augmentation: str = "none"  # or "horizontal_flip": each image is mirrored half of the times it is trained on

    def stream(self, position: int, *names: str | int) -> tuple[str | int, ...]:
        """The name of one random stream of the model at `position` in `folds`."""
        return (self.seed, "training", self.experiment, self.repeat, self.folds[position], *names)


@dataclass
class Losses:
    """-ELBO per image in nats after each epoch, in eval mode: (epochs, models); NaN where there is no held-out image."""

    train: np.ndarray
    held_out: np.ndarray


@dataclass
class Training:
    """The state of a training and the steps that advance it. `images` is uint8 (n, pixels) on the device."""

    plan: Plan
    images: Tensor
    packs: list[Pack] = field(init=False)
    epoch: int = field(default=0, init=False)  # finished epochs
    block: int = field(default=0, init=False)  # finished blocks of the current epoch
    seconds: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        plan, device = self.plan, self.images.device
        fresh = [self._initial_model(position) for position in range(len(plan.folds))]
        self.observation, self.latent_dim = fresh[0].observation, fresh[0].latent_dim
        per_pack = models_per_pack(device, len(fresh))
        groups = [fresh[start : start + per_pack] for start in range(0, len(fresh), per_pack)]
        self.packs = [Pack(group, plan.learning_rate, device) for group in groups]
        self.place = [(pack, index) for pack in self.packs for index in range(len(pack))]
        shape = (plan.epochs, len(fresh))
        self.losses = Losses(np.full(shape, np.nan), np.full(shape, np.nan))

    def _initial_model(self, position: int) -> torch.nn.Module:
        seed = torch_generator("cpu", *self.plan.stream(position, "initial")).initial_seed()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            with about(f"experiments.{self.plan.experiment}.model"):
                return build(image_shape=self.plan.image_shape, **self.plan.model)

    def run(self, folder: StateFolder, stop: Stop | None = None) -> None:
        """Train to the last epoch, continuing what `folder` holds; leaves a snapshot of every scored epoch there.

        Raises UserError if the loss is no longer a number or has grown beyond reason, or, with the state saved, if `stop` has
        a reason.
        """
        self._resume(folder)
        plan, started = self.plan, time.monotonic() - self.seconds
        per_epoch = sum(map(len, plan.trained_on))
        done = self.epoch * per_epoch + self._images_in_blocks(self.block)
        with Progress(plan.epochs * per_epoch, f"{plan.experiment} {plan.repeat}", " images", done) as progress:
            saved = time.monotonic()
            while self.epoch < plan.epochs:
                orders = self._orders()
                while self.block * STEPS_PER_BLOCK * plan.batch_size < max(map(len, orders)):
                    before = self._images_in_blocks(self.block)
                    loss = self._advance(orders)
                    progress.update(
                        self._images_in_blocks(self.block) - before, epoch=self.epoch + 1, loss=f"{loss:.2f}"
                    )
                    self.seconds = time.monotonic() - started
                    if stop and stop.reason:
                        self._stop(folder, stop.reason)
                    if time.monotonic() - saved > SAVE_EVERY:
                        self._save(folder)
                        saved = time.monotonic()
                self._finish_epoch(folder)

    def _images_in_blocks(self, blocks: int) -> int:
        seen = blocks * STEPS_PER_BLOCK * self.plan.batch_size
        return sum(min(seen, len(images)) for images in self.plan.trained_on)

    def _orders(self) -> list[np.ndarray]:
        """For each model the order in which this epoch shows its training images."""
        return [
            generator(*self.plan.stream(position, "order", self.epoch)).permutation(images)
            for position, images in enumerate(self.plan.trained_on)
        ]

    def _advance(self, orders: list[np.ndarray]) -> float:
        """Train every model for one block of steps; mean -ELBO per image seen."""
        loss = count = 0.0
        first = 0
        for pack in self.packs:
            block_loss, images = self._advance_pack(pack, range(first, first + len(pack)), orders)
            loss, count, first = loss + block_loss, count + images, first + len(pack)
        self.block += 1
        return loss / count

    def _advance_pack(self, pack: Pack, positions: range, orders: list[np.ndarray]) -> tuple[float, int]:
        size = self.plan.batch_size
        x, noise = zip(*(self._block(position, orders[position]) for position in positions), strict=True)
        total = torch.zeros(len(pack), device=self.images.device)
        for start in range(0, max(map(len, x)), size):
            lengths = [len(images[start : start + size]) for images in x]
            # Folds may differ by an image, so the last batches of an epoch may differ in size.
            for length in sorted({*lengths} - {0}):
                members = [index for index, own_length in enumerate(lengths) if own_length == length]
                here = slice(start, start + length)
                loss = pack.step(members, *(torch.stack([part[i][here] for i in members]) for part in (x, noise)))
                total[members if len(members) < len(pack) else slice(None)] += loss
        self._require_finite(total, positions)
        return float(total.sum()), sum(map(len, x))

    def _block(self, position: int, order: np.ndarray) -> tuple[Tensor, Tensor]:
        """All that one model sees in the current block: x (images, *image_shape) and normals (images, latent_dim) for z."""
        most = STEPS_PER_BLOCK * self.plan.batch_size
        chosen = order[self.block * most : (self.block + 1) * most]
        uniforms, normals, *mirrored = (part[: len(chosen)] for part in self._noise(position))
        return self._observe(chosen, uniforms, *mirrored), normals

    def _noise(self, position: int) -> tuple[Tensor, ...]:
        """Uniforms (images, pixels) for drawing x and normals (images, latent_dim) for z, of one block.

        With augmentation also whether to mirror each image, (images,) bool.
        """
        device, most = self.images.device, STEPS_PER_BLOCK * self.plan.batch_size
        stream = torch_generator(device, *self.plan.stream(position, "noise", self.epoch, self.block))
        uniforms = torch.rand(most, self.images.shape[1], generator=stream, device=device)
        normals = torch.randn(most, self.latent_dim, generator=stream, device=device)
        if self.plan.augmentation == "none":
            return uniforms, normals
        return uniforms, normals, torch.rand(most, generator=stream, device=device) < 0.5

    def _observe(self, chosen: np.ndarray, uniforms: Tensor, mirrored: Tensor | None = None) -> Tensor:
        """x (len(chosen), *image_shape) of the images `chosen`, those that `mirrored` (len(chosen),) names turned over."""
        images = self.images[torch.from_numpy(chosen).to(self.images.device)]
        if mirrored is not None:
            images = flip_horizontally(images, mirrored, self.plan.image_shape)
        return observations.draw(images, uniforms, self.observation).reshape(-1, *self.plan.image_shape)

    def _finish_epoch(self, folder: StateFolder) -> None:
        for position in range(len(self.place)):
            self.losses.train[self.epoch, position] = self._loss(position, self.plan.trained_on[position], "train")
            self.losses.held_out[self.epoch, position] = self._loss(position, self.plan.held_out[position], "held_out")
        self._require_progress()
        self.epoch, self.block = self.epoch + 1, 0
        if self.epoch in self.plan.scored_epochs:
            states = [pack.state(index) for pack, index in self.place]
            folder.save(f"epoch-{self.epoch}", {n: np.stack([s[n].cpu().numpy() for s in states]) for n in states[0]})
            self._save(folder)

    def _loss(self, position: int, images: np.ndarray, name: str) -> float:
        """Mean -ELBO per image of one model in pixel space, on images and noise that are the same after every epoch."""
        if not len(images):
            return float("nan")
        pack, index = self.place[position]
        chosen = np.sort(generator(*self.plan.stream(position, "loss", name)).permutation(images)[:IMAGES_FOR_LOSS])
        stream = torch_generator(self.images.device, *self.plan.stream(position, "loss", name))
        total = torch.zeros((), dtype=torch.float64, device=self.images.device)
        for part in np.array_split(chosen, -(-len(chosen) // at_once(1000, self.images.device))):
            shape = (len(part), self.images.shape[1])
            x = self._observe(part, torch.rand(shape, generator=stream, device=self.images.device))
            noise = torch.randn(len(part), self.latent_dim, generator=stream, device=self.images.device)
            elbo = pack.evaluate(index, x, noise) + observations.log_pixel_volume(x, self.observation)
            total -= elbo.double().sum()
        return float(total) / len(chosen)

    def _require_finite(self, loss: Tensor, positions: range) -> None:
        for position, value in zip(positions, loss.tolist(), strict=True):
            if not np.isfinite(value):
                raise UserError(
                    f"{self._who(position)} diverged in epoch {self.epoch + 1}: its loss is {value}; {self._mend()}"
                )

    def _require_progress(self) -> None:
        now, first = self.losses.train[self.epoch], self.losses.train[0]
        for position in np.flatnonzero(~(now <= first + DIVERGED * np.abs(first))):
            raise UserError(
                f"{self._who(position)} diverged in epoch {self.epoch + 1}: its loss rose from {first[position]:.1f} "
                f"to {now[position]:.1f} nats; {self._mend()}"
            )

    def _who(self, position: int) -> str:
        return f"training of {self.plan.experiment}, {self.plan.repeat}, fold {self.plan.folds[position]}"

    def _mend(self) -> str:
        return f"lower experiments.{self.plan.experiment}.training.learning_rate (now {self.plan.learning_rate})"

    def _stop(self, folder: StateFolder, reason: str) -> None:
        self._save(folder)
        raise UserError(
            f"training of {self.plan.experiment}, {self.plan.repeat} stopped {reason}, in epoch {self.epoch + 1} of "
            f"{self.plan.epochs}; its state is saved in {folder.path}: the same command goes on from there"
        )

    def _save(self, folder: StateFolder) -> None:
        arrays = {f"{i}.{name}": v for i, pack in enumerate(self.packs) for name, v in pack.training_state().items()}
        arrays |= {"loss_train": self.losses.train, "loss_held_out": self.losses.held_out}
        folder.save("state", arrays, epoch=self.epoch, block=self.block, seconds=self.seconds, packs=len(self.packs))

    def _resume(self, folder: StateFolder) -> None:
        state = folder.load("state")
        if state is None:
            return
        if state["packs"] != len(self.packs):
            log.warning("%s: was made on another kind of device; training starts again without it", folder.path)
            return
        if state["epoch"] > self.plan.epochs:
            log.warning("%s: is further than training.epochs; training starts again", folder.path)
            return
        if any(folder.load(f"epoch-{epoch}") is None for epoch in self.plan.scored_epochs if epoch <= state["epoch"]):
            log.warning("%s: the models of a scored epoch are missing; training starts again", folder.path)
            return
        for i, pack in enumerate(self.packs):
            prefix = f"{i}."
            pack.load_training_state({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        done = int(state["epoch"])
        for kept, losses in ((state["loss_train"], self.losses.train), (state["loss_held_out"], self.losses.held_out)):
            losses[:done] = kept[:done]  # of a training that was to be shorter or longer
        self.epoch, self.block, self.seconds = done, int(state["block"]), float(state["seconds"])
        log.warning("continuing %s %s in epoch %d", self.plan.experiment, self.plan.repeat, self.epoch + 1)
