"""Rule reproduction: the paper's numbers and claims beside ours, as published and corrected."""

from engram.files import atomic
from engram.paper import reproduction
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    table = reproduction.table(snakemake.params.experiments)
    atomic.write(snakemake.output[0], table.to_csv(index=False).encode())
