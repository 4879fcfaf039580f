"""The models that come with engram: name in config.yaml -> "module:Class", imported when used.

The content hash of rules leaves this list out and takes the module of the model in use, so another entry retrains nothing.
"""

KNOWN = {
    "bernoulli_mlp_vae": "engram.models.mlp_vae:BernoulliMLPVAE",
    "bernoulli_conv_vae": "engram.models.conv_vae:BernoulliConvVAE",
    "gaussian_conv_vae": "engram.models.gaussian_conv_vae:GaussianConvVAE",
    "gaussian_conv_vae_scalar_variance": "engram.models.gaussian_conv_vae:GaussianConvVAEScalarVariance",
    "logistic_mixture_conv_vae": "engram.models.logistic_mixture_conv_vae:LogisticMixtureConvVAE",
}

# What each takes beside image_shape, so that a misspelt setting is known before torch is imported.
SETTINGS = {
    "bernoulli_mlp_vae": ("latent_dim", "hidden"),
    "bernoulli_conv_vae": ("latent_dim", "features"),
    "gaussian_conv_vae": ("latent_dim", "features"),
    "gaussian_conv_vae_scalar_variance": ("latent_dim", "features"),
    "logistic_mixture_conv_vae": ("latent_dim", "features", "components"),
}


def known_models() -> list[str]:
    """Names that `engram.models.build` takes beside "module:Class"."""
    return sorted(KNOWN)


def source_of(name: str) -> str:
    """ "module:Class" of a model by the name that config.yaml gives it."""
    return KNOWN.get(name, name)
