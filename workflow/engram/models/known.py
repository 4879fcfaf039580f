"""The models that come with engram: name in config.yaml -> "module:Class", imported when used.

The content hash of rules leaves this list out and takes the module of the model in use, so another entry retrains nothing.
"""

from typing import NamedTuple


class Known(NamedTuple):
    """Where a model is, and the settings it takes beside image_shape: so a misspelt one is found before torch is imported."""

    source: str
    settings: tuple[str, ...]


KNOWN = {
    "bernoulli_mlp_vae": Known("engram.models.mlp_vae:BernoulliMLPVAE", ("latent_dim", "hidden")),
    "bernoulli_conv_vae": Known("engram.models.conv_vae:BernoulliConvVAE", ("latent_dim", "features")),
    "gaussian_conv_vae": Known("engram.models.gaussian_conv_vae:GaussianConvVAE", ("latent_dim", "features")),
    "gaussian_conv_vae_scalar_variance": Known(
        "engram.models.gaussian_conv_vae:GaussianConvVAEScalarVariance", ("latent_dim", "features")
    ),
    "logistic_mixture_conv_vae": Known(
        "engram.models.logistic_mixture_conv_vae:LogisticMixtureConvVAE", ("latent_dim", "features", "components")
    ),
    "gaussian": Known("engram.models.gaussian:Gaussian", ("covariance", "variance", "least_variance")),
    "ppca": Known("engram.models.ppca:PPCA", ("latent_dim", "least_variance")),
    "kernel_density": Known("engram.models.kernel_density:KernelDensity", ("bandwidth",)),
    "unet_diffusion": Known(
        "engram.models.unet_diffusion:UNetDiffusion", ("channels", "layers", "gamma_0", "gamma_1", "steps")
    ),
    "flow": Known("engram.models.flow:CouplingFlow", ("transforms", "hidden")),
}


def known_models() -> list[str]:
    """Names that `engram.models.build` takes beside "module:Class"."""
    return sorted(KNOWN)


def source_of(name: str) -> str:
    """ "module:Class" of a model by the name that config.yaml gives it."""
    return KNOWN[name].source if name in KNOWN else name
