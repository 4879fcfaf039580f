"""Rule given_membership: which model was trained on which image, from a file."""

from engram.runtime.jobs import job
from engram.scores import given

with job(snakemake.log[0]):
    given.membership(
        snakemake.output[0],
        snakemake.params.given["files"],
        experiment=snakemake.wildcards.experiment,
        dataset=snakemake.input.get("dataset") or None,
        seed=snakemake.params.seed,
    )
