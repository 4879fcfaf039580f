"""Mixtures of discretized logistics: the probability of 8-bit pixels (Salimans et al. 2017, PixelCNN++).

    P(pixel) = sum_k w_k prod_c [F((v_c + h - m_kc) / s_kc) - F((v_c - h - m_kc) / s_kc)],    F the logistic function

v_c is the value of channel c on [-1, 1], where grey levels lie 2 h apart; the bin of black reaches down to minus
infinity and that of white up to infinity, so that the 256^C probabilities of a pixel add up to one. The location
m_kc grows linearly, with coefficients in (-1, 1), with the values of the earlier channels of the pixel.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

HALF_BIN = 1 / 255
LEAST_LOG_SCALE = -7.0


@dataclass(frozen=True)
class Mixture:
    """K logistics for each pixel: log_weight (..., K, H, W), location and log_scale (..., C, K, H, W).

    `coefficient` (..., C (C - 1) / 2, K, H, W) holds those of channel 1 on 0, of 2 on 0, of 2 on 1, and so on.
    """

    log_weight: Tensor
    location: Tensor
    log_scale: Tensor
    coefficient: Tensor

    def location_given(self, channel: int, earlier: list[Tensor]) -> Tensor:
        """Location of a channel, (..., K, H, W), from the values of the channels before it, each (..., 1 or K, H, W)."""
        first = channel * (channel - 1) // 2
        location = self.location.select(-4, channel)
        for offset, value in enumerate(earlier):
            location = location + self.coefficient.select(-4, first + offset) * value
        return location


def outputs(channels: int, components: int) -> int:
    """How many numbers of a decoder one pixel takes."""
    return components * (1 + 2 * channels + channels * (channels - 1) // 2)


def mixture(parameters: Tensor, channels: int) -> Mixture:
    """The mixture that a decoder's output (..., outputs, H, W) stands for; its scales are clamped from below."""
    components = parameters.shape[-3] // outputs(channels, 1)
    by_kind = parameters.unflatten(-3, (-1, components))
    pairs = channels * (channels - 1) // 2
    weight, location, log_scale, coefficient = by_kind.split([1, channels, channels, pairs], -4)
    return Mixture(
        weight.squeeze(-4).log_softmax(-3), location, log_scale.clamp(min=LEAST_LOG_SCALE), coefficient.tanh()
    )


def log_prob(x: Tensor, parameters: Tensor) -> Tensor:
    """log P(x) in nats, summed over pixels: (..., n) from x (n, C, H, W) in [0, 1] and parameters (..., n, outputs, H, W)."""
    logistics, log_p = mixture(parameters, x.shape[-3]), 0
    values = [value.unsqueeze(-3) for value in (2 * x - 1).unbind(-3)]
    for channel, value in enumerate(values):
        location = logistics.location_given(channel, values[:channel])
        log_p = log_p + log_bin(value, location, logistics.log_scale.select(-4, channel))
    return (log_p + logistics.log_weight).logsumexp(-3).sum((-2, -1))


def log_bin(value: Tensor, location: Tensor, log_scale: Tensor) -> Tensor:
    """log of a logistic's mass in the bin of a grey level, elementwise; `value` on [-1, 1].

    F(b) - F(a) = F(b) F(-a) (1 - exp(a - b)) neither cancels nor overflows, however far the tail, with log F(t) taken as
    min(t, 0) + log F(|t|); the logarithms of the three factors are one logarithm of their product.
    """
    inverse_scale = torch.exp(-log_scale)
    black, white = value < HALF_BIN - 1, value > 1 - HALF_BIN
    upper = torch.where(white, torch.inf, (value + HALF_BIN - location) * inverse_scale)
    minus_lower = torch.where(black, torch.inf, (location - value + HALF_BIN) * inverse_scale)
    width = torch.where(black | white, 1, -torch.expm1(-2 * HALF_BIN * inverse_scale))
    factors = torch.sigmoid(upper.abs()) * torch.sigmoid(minus_lower.abs()) * width
    return upper.clamp(max=0) + minus_lower.clamp(max=0) + factors.log()


def mean(parameters: Tensor, channels: int) -> Tensor:
    """Mean image in [0, 1], (..., C, H, W): each channel's, given that the earlier ones are at theirs.

    A component's mean is that of its logistic censored to [-1, 1]; rounding to grey levels moves it by far less than one.
    """
    logistics, means = mixture(parameters, channels), []
    for channel in range(channels):
        location, scale = logistics.location_given(channel, means), logistics.log_scale.select(-4, channel).exp()
        means.append(scale * (softplus((location + 1) / scale) - softplus((location - 1) / scale)) - 1)
    weight = logistics.log_weight.exp()
    return (torch.stack([(weight * value).sum(-3) for value in means], -3) + 1).clamp(0, 2) / 2


def draw(parameters: Tensor, channels: int, generator: torch.Generator | None = None) -> Tensor:
    """One image of grey levels / 255, (n, C, H, W), from parameters (n, outputs, H, W)."""
    logistics, levels = mixture(parameters, channels), []
    n, components, height, width = logistics.log_weight.shape
    weight = logistics.log_weight.exp().movedim(-3, -1).reshape(-1, components)
    component = torch.multinomial(weight, 1, generator=generator).reshape(n, 1, height, width)
    for channel in range(channels):
        location = logistics.location_given(channel, levels).take_along_dim(component, -3)
        scale = logistics.log_scale.select(-4, channel).take_along_dim(component, -3).exp()
        uniform = torch.empty_like(location).uniform_(generator=generator)
        value = location + scale * uniform.logit()
        levels.append(((value + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1)
    return (torch.cat(levels, -3) + 1) / 2
