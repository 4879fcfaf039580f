"""Rule membership: which model is trained on which image, and what the scores compare."""

import time

from engram.designs.membership import design, groups_in
from engram.files import artifacts, provenance
from engram.runtime.jobs import job

with job(snakemake.log[0]):
    started = time.monotonic()
    dataset = artifacts.read(snakemake.input.dataset, "dataset")
    split, label = dataset["split"].values, dataset["label"].values
    settings, seed, experiment = snakemake.params.membership, snakemake.params.seed, snakemake.wildcards.experiment
    group = groups_in(dataset, settings)
    membership = design(settings, split, group, seed, experiment)
    attributes = provenance.attributes(
        experiment,
        seed,
        {"membership": settings},
        dataset_sha256=dataset.attrs["dataset_sha256"],
        wall_seconds=time.monotonic() - started,
    )
    artifacts.write(snakemake.output[0], "membership", membership.variables(split, label), attributes)
