"""Training the models of one repeat in lockstep, so that an interruption costs at most a minute and changes no bit.

The objective is the model's, for a VAE the one-sample evidence lower bound; x is drawn anew each time an image is seen (dynamic
binarization). Time is cut into blocks of steps, in which the packs of models take turns: random streams are named by epoch and
block, so the state between two turns is just the parameters and what the optimizer remembers.
"""

import inspect
import time
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from engram.errors import UserError, about
from engram.models import observations
from engram.models.building import build
from engram.models.conditions import conditions
from engram.models.protocols import DESCRIBED_IN, noise_shape
from engram.randomness import inside_models, torch_generator
from engram.runtime.jobs import Progress, log
from engram.runtime.stopping import Stop
from engram.training.batches import Batches
from engram.training.lockstep import Pack, why_not_together
from engram.training.plan import Losses, Plan
from engram.training.state import StateFolder

SAVE_EVERY = 30  # seconds between saves of the state
LARGEST_PACK = 32  # models; more would fill a GPU's memory and no longer its gaps
DIVERGED = 10  # training stops when the loss exceeds its first value by so many times that value


def models_per_pack(device: torch.device, models: int) -> int:
    """How many models advance as one: on a GPU all, if not too many, on a CPU one, whose weights then stay in the cache."""
    return 1 if device.type == "cpu" else min(models, LARGEST_PACK)


@dataclass
class Training:
    """The state of a training and the steps that advance it. `images` is uint8 (n, pixels) on the device.

    labels: (n,), the class of each image, -1 for none, which models with classes need. Raises UserError where they lack any.
    """

    plan: Plan
    images: Tensor
    labels: np.ndarray | None = None
    packs: list[Pack] = field(init=False)
    epoch: int = field(default=0, init=False)  # finished epochs
    block: int = field(default=0, init=False)  # blocks of the current epoch that all packs have finished
    turn: int = field(default=0, init=False)  # packs that have finished the next block, too
    seconds: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        plan, device = self.plan, self.images.device
        fresh = [self._initial_model(position) for position in range(len(plan.folds))]
        self._require_warm_up(fresh[0])
        what_it_takes = fresh[0].observation, noise_shape(fresh[0]), observations.precision(fresh[0])
        with about(f"experiments.{plan.experiment}.model"):
            given = tuple(values.to(device) for values in conditions(fresh[0], self.labels))
        self.batches = Batches(plan, self.images, *what_it_takes, given)
        per_pack = self._models_per_pack(fresh)
        groups = [fresh[start : start + per_pack] for start in range(0, len(fresh), per_pack)]
        self.packs = [Pack(group, plan.learning_rate, device, plan.of_step()) for group in groups]
        self.place = [(pack, index) for pack in self.packs for index in range(len(pack))]
        shape = (plan.epochs, len(fresh))
        self.losses = Losses(np.full(shape, np.nan), np.full(shape, np.nan))

    def _initial_model(self, position: int) -> torch.nn.Module:
        seed = torch_generator("cpu", *self.plan.stream(position, "initial")).initial_seed()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            with about(f"experiments.{self.plan.experiment}.model"):
                return build(image_shape=self.plan.image_shape, **self.plan.model)

    def _require_warm_up(self, model: torch.nn.Module) -> None:
        if self.plan.kl_warm_up and "kl_weight" not in inspect.signature(model.forward).parameters:
            raise UserError(
                f"experiments.{self.plan.experiment}.training.kl_warm_up is {self.plan.kl_warm_up}, but the forward(x, noise) of "
                f"{type(model).__name__} takes no kl_weight to warm up; see {DESCRIBED_IN}"
            )

    def _models_per_pack(self, models: list[torch.nn.Module]) -> int:
        """As many as the device likes; one where vmap cannot take them, which is said aloud."""
        per_pack = models_per_pack(self.images.device, len(models))
        if per_pack == 1:
            return 1
        problem = why_not_together(models, self.batches.of_block(0, self.plan.trained_on[0][:4], 0, 0))
        if problem:
            log.warning(
                "experiments.%s.model: its models are trained one at a time, several times slower on a GPU, because vmap cannot "
                "take them: %s",
                *(self.plan.experiment, problem),
            )
        return 1 if problem else per_pack

    def run(self, folder: StateFolder, stop: Stop | None = None) -> None:
        """Train to the last epoch, continuing what `folder` holds; leaves a snapshot of every scored epoch there.

        Raises UserError if the loss is no longer a number or has grown beyond reason, or, with the state saved, if `stop` has
        a reason.
        """
        self._resume(folder)
        plan, started = self.plan, time.monotonic() - self.seconds
        done, total = plan.count_shown(self.epoch) + self._images_seen(), plan.count_shown(plan.epochs)
        with Progress(total, f"{plan.experiment} {plan.repeat}", " images", done) as progress:
            saved = time.monotonic()
            while self.epoch < plan.epochs:
                orders = [self.batches.order(position, self.epoch) for position in range(len(self.place))]
                while self.block * self.batches.images_per_block < max(map(len, orders)):
                    loss, images = self._advance(orders)
                    progress.update(images, epoch=self.epoch + 1, loss=f"{loss / max(1, images):.2f}")
                    self.seconds = time.monotonic() - started
                    self._stop_if_asked(folder, stop)
                    if time.monotonic() - saved > SAVE_EVERY:
                        self._save(folder)
                        saved = time.monotonic()
                self._finish_epoch(folder, stop)

    def _images_seen(self) -> int:
        """In the current epoch, by all models."""
        per_block, ahead = self.batches.images_per_block, sum(map(len, self.packs[: self.turn]))
        blocks = [self.block + (position < ahead) for position in range(len(self.place))]
        return sum(min(n * per_block, len(self.plan.shown(i, self.epoch))) for i, n in enumerate(blocks))

    def _advance(self, orders: list[np.ndarray]) -> tuple[float, int]:
        """Train the pack whose turn it is for one block of steps; its summed -ELBO and how many images it saw."""
        pack, first = self.packs[self.turn], sum(map(len, self.packs[: self.turn]))
        with inside_models(self.images.device, *self.plan.stream(first, "inside", self.epoch, self.block)):
            seen = self._advance_pack(pack, range(first, first + len(pack)), orders)
        self.turn += 1
        if self.turn == len(self.packs):
            self.block, self.turn = self.block + 1, 0
        return seen

    def _advance_pack(self, pack: Pack, positions: range, orders: list[np.ndarray]) -> tuple[float, int]:
        size, of_block = self.plan.batch_size, (self.epoch, self.block)
        inputs = [*zip(*(self.batches.of_block(i, orders[i], *of_block) for i in positions), strict=True)]
        x = inputs[0]
        total = torch.zeros(len(pack), device=self.images.device)
        for start in range(0, max(map(len, x)), size):
            pack.set_rates(*self.plan.rates(self._epochs_done(start, max(map(len, orders)))))
            lengths = [len(images[start : start + size]) for images in x]
            # Folds may differ by an image, so the last batches of an epoch may differ in size.
            for length in sorted({*lengths} - {0}):
                members = [index for index, own_length in enumerate(lengths) if own_length == length]
                here = slice(start, start + length)
                loss = pack.step(members, *(torch.stack([part[i][here] for i in members]) for part in inputs))
                total[members if len(members) < len(pack) else slice(None)] += loss
        self._require_finite(total, positions)
        return float(total.sum()), sum(map(len, x))

    def _epochs_done(self, images: int, in_epoch: int) -> float:
        """Epochs, where each model has seen so many images of the current block, and sees `in_epoch` in this epoch; alike for
        all models.
        """
        seen = self.block * self.batches.images_per_block + images
        return self.epoch + seen / in_epoch

    def _finish_epoch(self, folder: StateFolder, stop: Stop | None) -> None:
        for position in range(len(self.place)):
            self._stop_if_asked(folder, stop)
            self.losses.train[self.epoch, position] = self._loss(
                position, self.plan.shown(position, self.epoch), "train"
            )
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
        total, judged = torch.zeros((), dtype=torch.float64, device=self.images.device), 0
        with inside_models(self.images.device, *self.plan.stream(position, "loss inside", name)):
            for x, *others in self.batches.of_loss(position, images, name):
                elbo = pack.evaluate(index, x, *others) + observations.log_pixel_volume(x, self.batches.observation)
                total, judged = total - elbo.double().sum(), judged + len(x)
        return float(total) / judged

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

    def _stop_if_asked(self, folder: StateFolder, stop: Stop | None) -> None:
        reason = stop.reason if stop else None
        if not reason:
            return
        self._save(folder)
        raise UserError(
            f"training of {self.plan.experiment}, {self.plan.repeat} stopped {reason}, in epoch {self.epoch + 1} of "
            f"{self.plan.epochs}; its state is saved in {folder.path}: the same command goes on from there"
        )

    def _save(self, folder: StateFolder) -> None:
        arrays = {f"{i}.{name}": v for i, pack in enumerate(self.packs) for name, v in pack.training_state().items()}
        arrays |= {"loss_train": self.losses.train, "loss_held_out": self.losses.held_out}
        counters = {"epoch": self.epoch, "block": self.block, "turn": self.turn, "packs": len(self.packs)}
        folder.save("state", arrays, **counters, seconds=self.seconds)

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
        self.epoch, self.block, self.turn = done, int(state["block"]), int(state["turn"])
        self.seconds = float(state["seconds"])
        log.warning("continuing %s %s in epoch %d", self.plan.experiment, self.plan.repeat, self.epoch + 1)
