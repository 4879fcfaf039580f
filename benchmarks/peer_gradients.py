"""Gradients and EK-FAC beside kronfluence and dattri: the same small networks, images and noise, in single precision."""

import copy
import functools
import tempfile
from collections.abc import Iterator
from types import ModuleType
from unittest import mock

import numpy as np
import torch
from peer_programs import Comparison
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

from engram.analyses import ekfac
from engram.analyses.gradients import Differentiated
from engram.models import build

IMAGES, SIDE = 200, 12
RELATIVE = 1e-3  # of a score, compared by its logarithm
Inputs = tuple[Tensor, ...]


class Denoiser(nn.Module):
    """Minus the squared error of a guess at the noise: two convolutions and a linear layer, with biases."""

    def __init__(self):
        super().__init__()
        convolutions = [nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 8, 3, stride=2), nn.Tanh()]
        self.layers = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(8 * ((SIDE - 1) // 2) ** 2, SIDE**2))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return -(self.layers(x + noise) - noise.flatten(1)).square().sum(1)


class LinearDenoiser(nn.Module):
    """The same by a single linear layer, with biases or without."""

    def __init__(self, bias: bool):
        super().__init__()
        self.layer = nn.Linear(SIDE**2, SIDE, bias=bias)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        return -(self.layer((x + noise).flatten(1)) - noise.flatten(1)[:, :SIDE]).square().sum(1)


def _given(noise_shape: tuple[int, ...] = (1, SIDE, SIDE)) -> Inputs:
    generator = torch.Generator().manual_seed(17)
    x = (torch.rand(IMAGES, 1, SIDE, SIDE, generator=generator) < 0.3).float()
    return x, torch.randn(IMAGES, *noise_shape, generator=generator)


def _made(model: type[nn.Module], *settings: object) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(17)
        return model(*settings).eval()


def _vae() -> tuple[nn.Module, Inputs]:
    small = {"image_shape": (1, SIDE, SIDE), "latent_dim": 4, "hidden": [48, 24]}
    return _made(functools.partial(build, "bernoulli_mlp_vae", **small)), _given((4,))


def _curvature(model: nn.Module, inputs: Inputs):
    gradients = Differentiated.of(model, *inputs)(*inputs)
    return gradients, ekfac.fit(lambda: [gradients.layers()])


def _self_influence(model: nn.Module, inputs: Inputs) -> np.ndarray:
    """log of engram's EK-FAC self-influence, (images,)."""
    gradients, curvature = _curvature(model, inputs)
    return sum(curvature[name].self_influence(factors) for name, factors in gradients.layers()).log().numpy()


def factored_curvature(analyzer: ModuleType) -> Iterator[Comparison]:
    """kronfluence's EK-FAC self-influence of linear and convolutional layers."""
    for said, model, inputs in (("MLP VAE", *_vae()), ("convolutions", _made(Denoiser), _given())):
        yield Comparison(
            f"EK-FAC, {said}, log self-influence",
            functools.partial(_self_influence, model, inputs),
            functools.partial(_by_kronfluence, analyzer, model, inputs),
            RELATIVE,
            "damping 0.1 of a layer's mean eigenvalue and the empirical Fisher, for which the peer has to be asked",
        )


def _by_kronfluence(analyzer: ModuleType, model: nn.Module, inputs: Inputs) -> np.ndarray:
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from kronfluence.task import Task

    class Objective(Task):
        def compute_train_loss(self, batch, model, sample=False):
            return -model(*batch).sum()

        def compute_measurement(self, batch, model):
            return self.compute_train_loss(batch, model)

    prepared, images = analyzer.prepare_model(copy.deepcopy(model), Objective()), TensorDataset(*inputs)
    with tempfile.TemporaryDirectory() as folder:
        program = analyzer.Analyzer("peer", prepared, Objective(), cpu=True, output_dir=folder, disable_tqdm=True)
        empirical, heuristic = FactorArguments(use_empirical_fisher=True), ScoreArguments(damping_factor=None)
        program.fit_all_factors("factors", images, per_device_batch_size=IMAGES, factor_args=empirical)
        program.compute_self_scores(
            "scores", "factors", images, per_device_train_batch_size=IMAGES, score_args=heuristic
        )
        return program.load_self_scores("scores")["all_modules"].log().numpy()


def attributors(dattri: ModuleType) -> Iterator[Comparison]:
    """dattri's TracIn and EK-FAC of each image on itself, the diagonal of its attributions to all."""
    from dattri.algorithm.tracin import TracInAttributor

    vae, inputs = _vae()

    def tracin() -> np.ndarray:
        attributor = TracInAttributor(_task(vae), torch.ones(1), normalized_grad=False)
        attributor.projector_kwargs = None
        return attributor.self_attribute(_loader(inputs)).log().numpy()

    yield Comparison(
        "squared norm of the gradient, log",
        lambda: Differentiated.of(vae, *inputs)(*inputs).squared_norms()[0].log().numpy(),
        tracin,
        RELATIVE,
        "TracIn of one checkpoint at rate 1; the peer would project gradients at random, which is taken from it",
    )
    unbiased, biased = (_made(LinearDenoiser, bias) for bias in (False, True))
    transposed = "the peer gets its eigenvectors transposed"
    rows = (
        (
            unbiased,
            _self_influence,
            True,
            RELATIVE,
            f"{transposed}, as it projects on rows of the matrix that eigh returns",
        ),
        (
            unbiased,
            _self_influence,
            False,
            None,
            "fault: the eigenvectors are the columns of that matrix, not its rows",
        ),
        (
            biased,
            _out_of_place,
            True,
            RELATIVE,
            f"{transposed}; engram gets gradients with biases where the peer puts them",
        ),
        (
            biased,
            _self_influence,
            True,
            None,
            "fault: all weights, then all biases, are cut into rows of one weight more",
        ),
    )
    for model, ours, is_transposed, within, remark in rows:
        yield Comparison(
            f"EK-FAC, linear layer {'with' if model is biased else 'without'} biases, log self-influence",
            functools.partial(ours, model, _given()),
            functools.partial(_by_dattri, model, _given(), is_transposed),
            within,
            remark,
            timed=False,
        )


def _out_of_place(model: nn.Module, inputs: Inputs) -> np.ndarray:
    """log of the self-influence of a single layer whose biases stand where dattri puts them, (images,)."""
    gradients, curvature = _curvature(model, inputs)
    ((name, factors),) = gradients.layers()
    weights, biases = factors.matrices().split([factors.shape[1] - 1, 1], dim=2)
    misplaced = torch.cat([weights.flatten(1), biases.flatten(1)], 1).reshape(-1, *factors.shape)
    return (misplaced * curvature[name].preconditioned(misplaced)).sum((1, 2)).log().numpy()


def _task(model: nn.Module):
    """The model's loss, as dattri takes it: of a batch, or of one image within vmap."""
    from dattri.task import AttributionTask

    def loss(parameters: dict[str, Tensor], batch: Inputs) -> Tensor:
        x, noise = batch
        inputs = (x, noise) if x.ndim == 4 else (x[None], noise[None])
        return -functional_call(model, parameters, inputs).mean()

    return AttributionTask(loss_func=loss, model=model, checkpoints=model.state_dict())


def _by_dattri(model: nn.Module, inputs: Inputs, transposed: bool) -> np.ndarray:
    from dattri.algorithm.influence_function import IFAttributorEKFAC
    from dattri.func import fisher

    (eigenvalues,) = (of_layer.eigenvalues for of_layer in _curvature(model, inputs)[1].values())
    found = fisher.estimate_eigenvector

    def rows(moments: dict) -> dict:
        return {name: (a.T, g.T) for name, (a, g) in found(moments).items()}

    attributor = IFAttributorEKFAC(_task(model), damping=float(ekfac.DAMPING * eigenvalues.mean()))
    with mock.patch.object(fisher, "estimate_eigenvector", rows if transposed else found):
        attributor.cache(_loader(inputs))
    return attributor.attribute(_loader(inputs), _loader(inputs)).diagonal().detach().log().numpy()


def _loader(inputs: Inputs) -> DataLoader:
    return DataLoader(TensorDataset(*inputs), batch_size=IMAGES)
