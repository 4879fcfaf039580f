"""Rule scores: memorization scores of one estimator at every scored epoch, with error bars, p-values and their null."""

from engram.runtime.jobs import job
from engram.scores import stage

with job(snakemake.log[0]):
    wildcards, params = snakemake.wildcards, snakemake.params
    stage.run(
        snakemake.output.h5,
        snakemake.output.csv,
        snakemake.input.likelihoods,
        snakemake.input.membership,
        snakemake.input.get("dataset") or None,
        experiment=wildcards.experiment,
        estimator=wildcards.estimator,
        statistic=params.statistic,
        scored_epochs=list(params.scored_epochs),
        permutations=params.permutations,
        seed=params.seed,
        threads=snakemake.threads,
    )
