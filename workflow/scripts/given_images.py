"""Rule given_images: images and labels that come with log p, as a data set."""

from engram.runtime.jobs import job
from engram.scores import given

with job(snakemake.log[0]):
    given.images(
        snakemake.output[0],
        snakemake.params.given["files"],
        experiment=snakemake.wildcards.experiment,
    )
