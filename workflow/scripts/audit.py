"""Rule audit: what a checkpoint that someone else trained remembers, and the page that says so."""

from pathlib import Path

from engram.audit import stage
from engram.audit.given import Asked
from engram.report import audit as page
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    experiment = snakemake.wildcards.experiment
    stage.run(
        Asked(**snakemake.params.asked),
        Path(snakemake.output.h5).parent,
        keys={name: f"experiments.{experiment}.{name}" for name in Asked._fields},
        threads=snakemake.threads,
        experiment=experiment,
        replaces=True,
    )
    page.write(snakemake.output.report, snakemake.output.h5)
