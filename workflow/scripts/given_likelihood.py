"""Rule given_likelihood: log p of one epoch, from a file."""

from engram.runtime.jobs import job
from engram.scores import given

with job(snakemake.log[0]):
    given.likelihood(
        snakemake.output[0],
        snakemake.params.given["files"],
        experiment=snakemake.wildcards.experiment,
        membership=snakemake.input.membership,
        epoch=int(snakemake.wildcards.epoch),
        seed=snakemake.params.seed,
    )
