rule membership:
    """Which model is trained on which image: the folds of every repeat."""
    input:
        dataset=dataset_of,
    output:
        "results/{experiment}/membership.h5",
    log:
        "logs/{experiment}/membership.log",
    conda:
        "../envs/engram.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        membership=setting("membership"),
        seed=setting("seed"),
        code=code("membership"),
    message:
        "Membership of {wildcards.experiment}"
    script:
        "../workflow/scripts/membership.py"
