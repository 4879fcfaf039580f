"""Rule figure_encoder_part: the encoder's part of the score."""

from engram.figures import style
from engram.figures.encoder_part import encoder_part
from engram.files import artifacts
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    found = artifacts.read(snakemake.input.encoder_part, "encoder_part")
    style.save(encoder_part(found), snakemake.output.pdf, snakemake.output.png)
