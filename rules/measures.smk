rule measures:
    """Every measure of memorization of every image on one table, beside the score."""
    input:
        unpack(measures_read),
    output:
        h5=EXPERIMENT.measures("h5"),
        csv=EXPERIMENT.measures("csv"),
    log:
        "logs/{experiment}/measures.log",
    conda:
        "../envs/engram.yaml"
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
    params:
        declared=measures_declared,
        left_out=measures_left_out,
        seed=setting("seed"),
        code=code("measures"),
    message:
        "Measures of {wildcards.experiment}"
    script:
        "../workflow/scripts/measures.py"
