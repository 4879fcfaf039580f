"""Rule reproduction: the paper's numbers and claims beside ours, as published and corrected."""

from engram import reproduction
from engram.jobs import job

with job(snakemake.log[0]):
    reproduction.table(snakemake.params.experiments).to_csv(snakemake.output[0], index=False)
