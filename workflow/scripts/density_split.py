"""Rule density_split: how memorization is spread over log p."""

from engram.analyses import density_split
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    density_split.analyse(
        score_paths=dict(zip(snakemake.params.estimators, snakemake.input.scores, strict=True)),
        output=snakemake.output[0],
        experiment=snakemake.wildcards.experiment,
        seed=snakemake.params.seed,
    )
