# Of experiments that audit a checkpoint which someone else trained: one rule, which has a page of its own.


rule audit:
    """What a checkpoint says of given images, copies among its samples, and tests of membership."""
    input:
        unpack(datasets_audited),
    output:
        h5=EXPERIMENT.audit("h5"),
        csv=EXPERIMENT.audit("csv"),
        report=EXPERIMENT.report,
    log:
        "logs/{experiment}/audit.log",
    wildcard_constraints:
        experiment=THAT_AUDIT,
    conda:
        "../envs/engram.yaml"
    threads: 1
    resources:
        gpu=gpus_here,
        mem_mb=growing(16000),
        runtime=growing(720),
    params:
        asked=asked_of_audit,
        contents=contents_audited,
        code=code("audit"),
        page=page("audit.html.j2", "style.css"),
    message:
        "Audit of {wildcards.experiment}"
    script:
        "../workflow/scripts/audit.py"
