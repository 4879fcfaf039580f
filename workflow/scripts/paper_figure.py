"""The rule of each figure in engram.catalogue that sets two experiments of a reproduction side by side."""

from engram.figures import stage, style
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    drawn = stage.draw_of_rates(snakemake.params.figure, snakemake.params.experiments)
    style.save(drawn, snakemake.output.pdf, snakemake.output.png)
