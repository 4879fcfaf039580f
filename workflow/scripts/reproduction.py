"""Rule reproduction: the paper's numbers and claims beside ours, as published and corrected."""

from engram import reproduction, whole
from engram.jobs import job

with job(snakemake.log[0]):
    table = reproduction.table(snakemake.params.experiments)
    whole.write(snakemake.output[0], table.to_csv(index=False).encode())
