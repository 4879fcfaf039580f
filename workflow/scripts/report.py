"""Rules report and reproduction_report: everything found in some experiments, as one self-contained page."""

from engram.report import page
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    page.write(snakemake.output[0], snakemake.params.experiments, snakemake.params.reproduction)
