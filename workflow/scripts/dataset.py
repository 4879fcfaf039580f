"""Rule dataset: one data set from its source into the form that every later stage reads."""

import time

from engram import datasets
from engram.datasets import summary
from engram.runtime.jobs import job
from engram.runtime.machine import peak_memory

with job(snakemake.log[0]) as log:
    started = time.monotonic()
    name, definition = snakemake.wildcards.dataset, snakemake.params.definition
    image_set = datasets.make(name, definition, snakemake.config.get("data_root"))
    what_was_read = datasets.write(
        snakemake.output[0],
        name,
        definition,
        image_set,
        wall_seconds=time.monotonic() - started,
        peak_memory_bytes=peak_memory(),
    )
    summary.tell(log, name, what_was_read)
