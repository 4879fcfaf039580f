"""The models that come with engram: name in config.yaml -> "module:Class", imported when used.

The content hash of rules leaves this list out and takes the module of the model in use, so another entry retrains nothing.
"""

from typing import NamedTuple


class Known(NamedTuple):
    """Where a model is, and what must be known of it before torch is imported.

    settings: those that it takes beside image_shape. proposals: the values of an estimator's `proposal` by which its log p can be
    had. is_fitted: whether it is fitted in closed form, and not trained.
    """

    source: str
    settings: tuple[str, ...]
    proposals: tuple[str, ...] = ("encoder", "laplace")
    is_fitted: bool = False


KNOWN = {
    "bernoulli_mlp_vae": Known("engram.models.mlp_vae:BernoulliMLPVAE", ("latent_dim", "hidden")),
    "bernoulli_conv_vae": Known("engram.models.conv_vae:BernoulliConvVAE", ("latent_dim", "features")),
    "gaussian_conv_vae": Known("engram.models.gaussian_conv_vae:GaussianConvVAE", ("latent_dim", "features")),
    "gaussian_conv_vae_scalar_variance": Known(
        "engram.models.gaussian_conv_vae:GaussianConvVAEScalarVariance", ("latent_dim", "features")
    ),
    "logistic_mixture_conv_vae": Known(
        "engram.models.logistic_mixture_conv_vae:LogisticMixtureConvVAE",
        ("latent_dim", "features", "components"),
        ("encoder",),
    ),
    "flow": Known("engram.models.flow:CouplingFlow", ("transforms", "hidden"), ("exact",)),
    "unet_diffusion": Known(
        "engram.models.unet_diffusion:UNetDiffusion",
        ("channels", "layers", "gamma_0", "gamma_1", "steps", "sampler", "classes", "label_dropout"),
        ("bound",),
    ),
    "gaussian": Known(
        "engram.models.gaussian:Gaussian", ("covariance", "variance", "least_variance"), ("exact",), is_fitted=True
    ),
    "ppca": Known("engram.models.ppca:PPCA", ("latent_dim", "least_variance"), ("exact",), is_fitted=True),
    "kernel_density": Known("engram.models.kernel_density:KernelDensity", ("bandwidth",), ("exact",), is_fitted=True),
}


def known_models() -> list[str]:
    """Names that `engram.models.build` takes beside "module:Class"."""
    return sorted(KNOWN)


def source_of(name: str) -> str:
    """ "module:Class" of a model by the name that config.yaml gives it."""
    return KNOWN[name].source if name in KNOWN else name
