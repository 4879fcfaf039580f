"""Rule report: everything found in the experiments of `run:`, as one self-contained page."""

from engram import report
from engram.jobs import job

with job(snakemake.log[0]):
    report.write(snakemake.output[0], snakemake.params.experiments)
