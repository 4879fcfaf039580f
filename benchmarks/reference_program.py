"""The program of van den Burg & Williams, run as it is from a folder that holds it: its data set, loader, loops and models.

Nothing of it is edited or copied. Two things around it are ours: the images lie ready as IDX files where torchvision's
MNIST looks for its download, and where its package SyncRNG is not installed an empty stand-in takes its place (SyncRNG
deals images out to folds, which no benchmark asks for).
"""

import importlib
import importlib.util
import os
import sys
import types
from pathlib import Path
from unittest import mock

import numpy as np
import torch

BATCH_SIZE, LEARNING_RATE, SAMPLES, SEED = 64, 1e-3, 256, 42  # its own settings for binarized MNIST


class ReferenceProgram:
    """The reference program on images (n, 1024) uint8, padded to 32x32 as engram holds them; it pads by itself."""

    def __init__(self, folder: Path, train: np.ndarray, test: np.ndarray, workspace: Path, latent_dim: int = 16):
        if importlib.util.find_spec("SyncRNG") is None:
            sys.modules["SyncRNG"] = types.SimpleNamespace(SyncRNG=lambda seed: None)
        sys.path.insert(0, str(folder / "scripts" if (folder / "scripts").is_dir() else folder))
        modules = ("dataset", "models", "trainer")
        dataset, self.models, self.trainer = map(importlib.import_module, modules)
        raw = workspace / "MNIST" / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for part, images in (("train", train), ("t10k", test)):
            write_idx(raw / f"{part}-images-idx3-ubyte", images.reshape(-1, 32, 32)[:, 2:-2, 2:-2])
            write_idx(raw / f"{part}-labels-idx1-ubyte", np.zeros(len(images), np.uint8))
        with mock.patch.dict(os.environ, DL_DATASETS_ROOT=str(workspace)):
            self.data = dataset.SplitDataset("BinarizedMNIST", SEED, batch_size=BATCH_SIZE, params={"binarize": True})
        self.latent_dim = latent_dim

    def model(self):
        """A new model of the reference program."""
        return self.models.load_model("BernoulliMLPVAE", img_dim=32, latent_dim=self.latent_dim, in_channels=1)

    def with_weights_of(self, ours: torch.nn.Module):
        """Its model with the weights of one of ours: both list the same layers in the same order."""
        model = self.model()
        names, values = model.state_dict(), ours.state_dict().values()
        model.load_state_dict(dict(zip(names, values, strict=True)))
        return model

    def train(self, held_out: bool) -> int:
        """One epoch of a new model by its own `fit`, with its loss on the test images if `held_out`; images trained on."""
        trainer = self._trainer()
        loader = self.data.create_full_test() if held_out else None
        trainer.fit(self.model(), self.data.create_full(), loader, compute_px_every=None)
        return len(self.data._data)

    def log_px(self, model, images: int) -> int:
        """Its `marginal` of the first training images, drawn anew; number of images."""
        loader = self.data.create_subset_loader(torch.arange(images))
        return len(self._trainer().marginal(model, loader, N=SAMPLES))

    def log_px_of(self, model, x: torch.Tensor, samples: int, at_once: int = 2**16) -> torch.Tensor:
        """Its estimate of log p of given observations x (n, 1, 32, 32): (n,), by as many images as fit `at_once` samples."""
        trainer = self._trainer()
        with torch.no_grad():
            parts = x.split(max(1, at_once // samples))
            return torch.cat([trainer.marginal_batch(model, part, N=samples) for part in parts])

    def _trainer(self):
        return self.trainer.MarginalTrainer(device=torch.device("cpu"), epochs=1, lr=LEARNING_RATE)


def write_idx(path: Path, array: np.ndarray) -> None:
    """A uint8 array as an IDX file, as MNIST is published."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    path.write_bytes(header + np.ascontiguousarray(array).tobytes())
