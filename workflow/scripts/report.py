"""Rules report and reproduction_report: everything found in some experiments, as one self-contained page."""

from engram import report
from engram.jobs import job

with job(snakemake.log[0]):
    report.write(snakemake.output[0], snakemake.params.experiments, snakemake.params.reproduction)
