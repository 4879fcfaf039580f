"""Rule encoder_part: the part of the score that is the encoder's generalization gap."""

from engram.analyses import encoder_part
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    encoder, laplace = snakemake.params.encoder_estimator, snakemake.params.laplace_estimator
    encoder_part.analyse(
        score_paths={encoder: snakemake.input.encoder, laplace: snakemake.input.laplace},
        encoder_estimator=encoder,
        laplace_estimator=laplace,
        output=snakemake.output[0],
        experiment=snakemake.wildcards.experiment,
        seed=snakemake.params.seed,
    )
