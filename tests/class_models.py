"""Models that learn classes, and whose answers are known: a mixture that is told the component, and one mean for each class."""

import math

import torch
from torch import nn

from test_diffusion import Mixture


class ToldComponent(Mixture):
    """Knows the density of every class, which is one component of the mixture, and of an image of unknown class, the mixture."""

    def __init__(self, image_shape, weights, means, deviations, **settings):
        super().__init__(image_shape, weights, means, deviations, classes=len(weights), **settings)

    def of_class(self, number):
        alone = slice(number, number + 1)
        shape, *parts = self.image_shape, torch.ones(1), self.means[alone], self.deviations[alone]
        return Mixture(shape, *parts, self.gamma_0, self.gamma_1)

    def predict_noise(self, z, gamma, label=None):
        unknown = super().predict_noise(z, gamma)
        if label is None:
            return unknown
        told = [self.of_class(number).predict_noise(z, gamma) for number in range(self.classes)]
        return torch.stack([*told, unknown])[label, torch.arange(len(z))]


class ClassMeans(nn.Module):
    """A normal distribution about the mean image of each class, of standard deviation 1/sqrt(2): its fit is those means."""

    observation, noise_shape = "pixels", (0,)

    def __init__(self, image_shape, classes: int = 3):
        super().__init__()
        self.image_shape, self.classes = image_shape, classes
        self.mean = nn.Parameter(torch.zeros(classes, *image_shape))

    def forward(self, x, noise, label):
        return self.log_prob(x, label)

    def log_prob(self, x, label):
        pixels = x[0].numel()
        return -((x - self.mean[label]) ** 2).flatten(1).sum(1) - pixels / 2 * math.log(math.pi)

    def bound(self, x, noise, label):
        return self.log_prob(x, label)[:, None].expand(noise.shape[:2])


class LatentOfClass(nn.Module):
    """A VAE's methods, with classes: its log p can only be had by `bound`, which the subclass below defines."""

    observation, latent_dim, classes = "binary", 2, 3

    def __init__(self, image_shape):
        super().__init__()
        self.out = nn.Linear(2 + 3, math.prod(image_shape))

    def encode(self, x, label):
        return x.new_zeros(len(x), 2), x.new_zeros(len(x), 2)

    def decode(self, z, label):
        return self.out(torch.cat([z, nn.functional.one_hot(label, 3).to(z)], -1))

    def log_prob_given_latent(self, x, z, label):
        logits = self.decode(z, label)
        return (x.flatten(1) * logits - nn.functional.softplus(logits)).sum(-1)

    def forward(self, x, noise, label):
        return self.log_prob_given_latent(x, noise, label)


class BoundedLatentOfClass(LatentOfClass):
    def bound(self, x, noise, label):
        return torch.stack([self(x, each, label) for each in noise.unbind(1)], 1)


class NamesItsClasses(ClassMeans):
    def __init__(self, image_shape):
        super().__init__(image_shape)
        self.classes = ["cats", "dogs", "birds"]
