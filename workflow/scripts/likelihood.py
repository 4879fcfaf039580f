"""Rule likelihood: log p of every image under the models of one repeat at one epoch, by one estimator."""

from engram.likelihood import stage
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    wildcards, params = snakemake.wildcards, snakemake.params
    stage.run(
        snakemake.output[0],
        snakemake.input.models,
        snakemake.input.dataset,
        experiment=wildcards.experiment,
        estimator=wildcards.estimator,
        repeat=wildcards.repeat,
        epoch=int(wildcards.epoch),
        settings=dict(params.estimator),
        seed=params.seed,
        threads=snakemake.threads,
    )
