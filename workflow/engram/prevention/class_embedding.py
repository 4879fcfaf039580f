"""The class embeddings of engram's own U-Nets, as `engram.prevention.embedding` takes them."""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from engram.models.unet_diffusion import UNetDiffusion
from engram.prevention.embedding import PredictGiven

TABLE = "unet.class_embedding.weight"  # a row for each class, and one for the class that is not said


def class_embeddings(model: UNetDiffusion, label: Tensor) -> Tensor:
    """Embeddings (n, d) of the classes `label` (n,), of a model with classes."""
    return model.get_parameter(TABLE).detach()[label]


def given_embedding(model: UNetDiffusion) -> PredictGiven:
    """epsilon from z, gamma and embeddings (n, d): the model's, with these in its table, a class for each image."""
    noise = _Noise(model)

    def predict(z: Tensor, gamma: Tensor, embedding: Tensor) -> Tensor:
        own_class = torch.arange(len(z), device=z.device)
        return functional_call(noise, {f"model.{TABLE}": embedding}, (z, gamma, own_class))

    return predict


class _Noise(nn.Module):
    """`predict_noise` as a module of its own, since only a module's `forward` can be called with other weights."""

    def __init__(self, model: UNetDiffusion):
        super().__init__()
        self.model = model

    def forward(self, z: Tensor, gamma: Tensor, label: Tensor) -> Tensor:
        return self.model.predict_noise(z, gamma, label)
