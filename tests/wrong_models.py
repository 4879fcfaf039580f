"""Models with one fault each, as their users wrote them in good faith; tests/test_model_check.py says what is answered."""

import random

import numpy as np
import torch
from torch import nn
from torch.distributions import Normal

from sound_models import HIDDEN, Binary, Bounded, Denoiser, Exact, Fixed, Gaussian, TwoLevels


class NoObjective(nn.Module):
    observation = "binary"

    def __init__(self, image_shape):
        super().__init__()
        self.layer = nn.Linear(16, 1)

    def log_prob(self, x):
        return self.layer(x.flatten(1)).squeeze(1)


class UnknownObservation(Binary):
    observation = "grey"


class NoWayToLogP(nn.Module):
    """An autoencoder: it trains, and has no log p."""

    observation = "binary"

    def __init__(self, image_shape):
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, x, noise):
        return -((x.flatten(1) - self.layer(x.flatten(1))) ** 2).sum(1)


class NoDecoder(nn.Module):
    """encode and log_prob_given_latent, which decodes by itself."""

    observation, latent_dim = "binary", 3

    def __init__(self, image_shape):
        super().__init__()
        self.inside = Binary(image_shape)

    def encode(self, x):
        return self.inside.encode(x)

    def log_prob_given_latent(self, x, z):
        return self.inside.log_prob_given_latent(x, z)

    def forward(self, x, noise):
        return self.inside(x, noise)


class NoSample(Exact):
    sample = property()  # as if there were none


class FailsToBuild(Binary):
    def __init__(self, image_shape):
        super().__init__(image_shape)
        self.layer = nn.Linear(image_shape[1] // 0, 2)


class TextForANumber(Binary):
    """Right, but for what config.yaml gives it: latent_dim "16"."""


class FailsInDecode(Binary):
    def decode(self, z):
        return self.decoder(torch.cat([z, z], -1))


class FailsInBatchesOfOne(Binary):
    def encode(self, x):
        if len(x) < 2:
            raise ValueError("I need two images")
        return super().encode(x)


class ObjectiveOfTheBatch(Binary):
    """The mean over the batch, as losses are often written."""

    def forward(self, x, noise):
        return super().forward(x, noise).mean()


class ObjectivePerPixel(Exact):
    def forward(self, x, noise):
        logits = self.logits(x.flatten(1))
        return x.flatten(1) * logits - nn.functional.softplus(logits)


class ObjectiveIsATuple(Binary):
    def forward(self, x, noise):
        return super().forward(x, noise), noise


class EncodesOneTensor(Binary):
    def encode(self, x):
        return torch.cat(super().encode(x), -1)

    def forward(self, x, noise):
        return self.log_prob_given_latent(x, noise) + 0 * self.encode(x).sum(-1)


class EncodesTransposed(Binary):
    def encode(self, x):
        mean, log_variance = super().encode(x)
        return mean.T, log_variance.T

    def forward(self, x, noise):
        return self.log_prob_given_latent(x, noise) + 0 * sum(part.sum() for part in self.encode(x))


class SqueezesBatchesOfOne(Exact):
    def log_prob(self, x):
        return super().log_prob(x).squeeze()


class MergesLeadingAxes(Binary):
    """z is flattened to two axes and stays so."""

    def decode(self, z):
        return self.decoder(z.reshape(-1, self.latent_dim))

    def log_prob_given_latent(self, x, z):
        return super().log_prob_given_latent(x, z[0] if z.ndim == 3 else z).expand(z.shape[:-1])


class IgnoresLeadingAxes(Binary):
    """The first sample's value for all samples."""

    def log_prob_given_latent(self, x, z):
        return super().log_prob_given_latent(x, z[0] if z.ndim == 3 else z).expand(z.shape[:-1])


class SumsOverSamples(Binary):
    def log_prob_given_latent(self, x, z):
        values = super().log_prob_given_latent(x, z)
        return values.sum(0) if values.ndim > 1 else values


class InformationOfOtherShape(Binary):
    def information(self, parameters):
        return super().information(parameters).sum(-1)


class NegativeInformation(Binary):
    def information(self, parameters):
        return -super().information(parameters)


class MeanIsLogits(Binary):
    def mean(self, parameters):
        return 3 * parameters.reshape(-1, *self.image_shape)


class MeanIsFlat(Binary):
    def mean(self, parameters):
        return parameters.sigmoid()

    def observe(self, parameters, generator=None):
        return torch.bernoulli(self.mean(parameters), generator=generator).reshape(-1, *self.image_shape)


class SampleIsFlat(Exact):
    def sample(self, n, observation=False, generator=None):
        return super().sample(n, observation, generator).flatten(1)


class DependsOnNeighbours(Binary):
    """Images are centred by their batch, in evaluation mode, too."""

    def encode(self, x):
        return super().encode(x - x.mean(0))


class DependsOnNeighboursInLogP(Exact):
    def logits(self, pixels):
        return super().logits(pixels) + pixels.mean()


class UnusedParameters(Binary):
    def __init__(self, image_shape):
        super().__init__(image_shape)
        self.forgotten = nn.Linear(3, 3)


class Lazy(Binary):
    def __init__(self, image_shape):
        super().__init__(image_shape)
        self.decoder[0] = nn.LazyLinear(HIDDEN)


class NothingToTrain(Binary):
    def __init__(self, image_shape):
        super().__init__(image_shape)
        self.requires_grad_(False)


class ReassignsABuffer(Binary):
    def __init__(self, image_shape):
        super().__init__(image_shape)
        self.register_buffer("seen", torch.zeros(()))

    def encode(self, x):
        if self.training:
            self.seen = self.seen + len(x)
        return super().encode(x)


class ChangesX(Binary):
    def encode(self, x):
        return super().encode(x.mul_(0.5))


class ChangesXInEvaluation(Exact):
    def log_prob(self, x):
        return super().log_prob(x if self.training else x.clamp_(0.1, 0.9))


class ChangesNoise(Binary):
    def forward(self, x, noise):
        return super().forward(x, noise.mul_(0.5))


class ChangesNoiseInDraw(TwoLevels):
    def propose(self, x):
        own = super().propose(x)
        inner = own.draw

        def draw(noise):
            answer = inner(noise)
            noise.zero_()
            return answer

        own.draw = draw
        return own


class NotFinite(Binary):
    def log_prob_given_latent(self, x, z):
        p = self.decode(z).mul(1e3).sigmoid()
        return (x.flatten(1) * p.log() + (1 - x.flatten(1)) * (1 - p).log()).sum(-1)


class NotFiniteInEvaluation(Binary):
    def log_prob_given_latent(self, x, z):
        values = super().log_prob_given_latent(x, z)
        return values if self.training else values / 0


class NotFiniteInTraining(Binary):
    def forward(self, x, noise):
        values = super().forward(x, noise)
        return values * float("nan") if self.training else values


class GradientNotFinite(Binary):
    def forward(self, x, noise):
        mean, _ = self.encode(x)
        return super().forward(x, noise) + 0 * (mean - mean).abs().sum(-1).sqrt()


class DropoutAlways(Binary):
    def decode(self, z):
        return nn.functional.dropout(self.decoder(z), 0.2)


class NoiseOfItsOwn(Binary):
    """Samples z itself, in evaluation mode, too."""

    def forward(self, x, noise):
        return super().forward(x, torch.randn_like(noise))


class RandomLogP(Exact):
    def log_prob(self, x):
        return super().log_prob(x) - 10 * random.random()


class WeightsByNumpy(Binary):
    def __init__(self, image_shape):
        super().__init__(image_shape)
        self.shift = nn.Parameter(torch.tensor(np.random.randn(3), dtype=torch.float32))

    def decode(self, z):
        return super().decode(z + self.shift)


class NoiseByNumpy(Binary):
    def encode(self, x):
        noisy = x + 10 * np.random.randn() if self.training else x
        return super().encode(noisy)


class Detached(Binary):
    def forward(self, x, noise):
        with torch.no_grad():
            return super().forward(x, noise)


class Item(Exact):
    def forward(self, x, noise):
        return torch.tensor([self.log_prob(one[None]).item() for one in x])


class PositiveLogP(Binary):
    """A Gaussian's density for pixels that are 0 or 1."""

    def log_prob_given_latent(self, x, z):
        return Normal(self.decode(z).sigmoid(), 0.05).log_prob(self.decode(z).sigmoid().detach()).sum(-1)


class PositiveExactLogP(Exact):
    def log_prob(self, x):
        return -super().log_prob(x)


class MeanOverPixels(Binary):
    def log_prob_given_latent(self, x, z):
        return super().log_prob_given_latent(x, z) / x[0].numel()


class MeanOverPixelsOfFixedSize(Fixed):
    def log_prob_given_latent(self, x, z):
        return super().log_prob_given_latent(x, z) / x[0].numel()


class MeanOverPixelsNotDrawn(MeanOverPixels):
    observe = property()  # as if there were none


class SquaredErrorWithoutNormalizer(Gaussian):
    def log_prob_given_latent(self, x, z):
        return -0.5 * ((x.flatten(1) - self.decode(z)) ** 2 * torch.exp(-self.log_variance)).sum(-1)


class SquaredErrorNotDrawn(SquaredErrorWithoutNormalizer):
    observe = property()  # as if there were none


class FixedWithoutNormalizer(Fixed):
    log_prob_given_latent = SquaredErrorWithoutNormalizer.log_prob_given_latent


class WithoutTheHalf(Fixed):
    """exp(-(x - m)^2 / v), whose variance is v / 2, drawn with v."""

    def log_prob_given_latent(self, x, z):
        return 2 * super().log_prob_given_latent(x, z)


class TwiceTooCertain(Exact):
    def log_prob(self, x):
        return 2 * super().log_prob(x)


class ExactMeanOverPixels(Exact):
    def log_prob(self, x):
        return super().log_prob(x) / x[0].numel()


class InformationOfVariance(Gaussian):
    """The variance where 1 / variance is meant."""

    def information(self, parameters):
        return torch.exp(self.log_variance).expand_as(parameters)


class InformationWithoutSquare(Binary):
    def information(self, parameters):
        return parameters.sigmoid()


class RatioUpsideDown(TwoLevels):
    def propose(self, x):
        own = super().propose(x)
        inner = own.draw

        def draw(noise):
            z, ratio = inner(noise)
            return z, -ratio

        own.draw = draw
        return own

    def forward(self, x, noise):
        z, ratio = self.propose(x).draw(noise.unsqueeze(1))
        return (self.log_prob_given_latent(x, z) - ratio).squeeze(0)


class RatioWithoutQ(TwoLevels):
    """log p(z) alone."""

    def propose(self, x):
        own = super().propose(x)
        inner = own.draw

        def draw(noise):
            z, _ = inner(noise)
            return z, Normal(0.0, 1.0).log_prob(z).sum(-1)

        own.draw = draw
        return own


class DrawsImagesFirst(TwoLevels):
    def propose(self, x):
        own = super().propose(x)
        inner = own.draw

        def draw(noise):
            z, ratio = inner(noise)
            return (z, ratio) if noise.shape[1] == 1 else (z.transpose(0, 1), ratio.T)

        own.draw = draw
        return own


class PlainAttribute(Binary):
    """Random features that are no buffer: a loaded model has others."""

    def __init__(self, image_shape):
        super().__init__(image_shape)
        self.features = torch.randn(3, 3)

    def decode(self, z):
        return super().decode(z @ self.features)


class OneNoiseForAllPixels(Denoiser):
    """Broadcasts, and so goes unnoticed in the difference from the noise."""

    def predict_noise(self, z, gamma):
        return super().predict_noise(z, gamma).mean((1, 2, 3), keepdim=True)


class OneGammaForAll(Denoiser):
    """The first image's gamma for the whole batch, as samplers have it."""

    def predict_noise(self, z, gamma):
        return super().predict_noise(z, gamma[:1].expand(len(z)))


class GammaOfABatchOfOne(Denoiser):
    def predict_noise(self, z, gamma):
        return super().predict_noise(z, torch.full((len(z),), gamma.item()))


class LossForABound(Bounded):
    def bound(self, x, noise):
        return -super().bound(x, noise)

    def forward(self, x, noise):
        return super().bound(x, noise.unsqueeze(1)).squeeze(1)
