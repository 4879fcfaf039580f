"""Rule measures: what the analyses of an experiment say of each image, on one table."""

from engram.analyses import measures
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    declared = snakemake.params.declared
    measures.run(
        snakemake.output.h5,
        snakemake.output.csv,
        snakemake.input.scores,
        {name: snakemake.input[name] for name in declared},
        declared=declared,
        left_out=snakemake.params.left_out,
        experiment=snakemake.wildcards.experiment,
        seed=snakemake.params.seed,
    )
