"""Rule figure_neighbors: nearest-neighbour ratio against score."""

from engram.figures import style
from engram.figures.neighbors import neighbors
from engram.files import artifacts, inputs
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    found = artifacts.read(snakemake.input.neighbors, "neighbors")
    scores = inputs.scores(dict(zip(snakemake.params.estimators, snakemake.input.scores, strict=True)))
    style.save(neighbors(found, scores), snakemake.output.pdf, snakemake.output.png)
