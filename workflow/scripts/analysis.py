"""The rule of each analysis in engram.catalogue: one question to the scores of an experiment."""

from engram.analyses import stage
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    stage.run(
        snakemake.params.analysis,
        dict(snakemake.input.items()),
        snakemake.params.estimators,
        output=snakemake.output[0],
        experiment=snakemake.wildcards.experiment,
        seed=snakemake.params.seed,
        threads=snakemake.threads,
        features=snakemake.params.features,
    )
