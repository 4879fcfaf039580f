"""Rule membership: which model is trained on which image, and what the scores compare."""

from engram.designs import stage
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    stage.run(
        snakemake.output[0],
        snakemake.input.dataset,
        experiment=snakemake.wildcards.experiment,
        settings=snakemake.params.membership,
        seed=snakemake.params.seed,
    )
