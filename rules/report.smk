rule report:
    """One self-contained page of everything found in the experiments of `run:`."""
    input:
        report_inputs(config["run"]),
    output:
        "results/report.html",
    log:
        "logs/report.log",
    conda:
        "../envs/engram.yaml"
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        experiments=report_experiments(config["run"]),
        reproduction=None,
        code=code("report"),
        page=page(),
    message:
        "Report of {config[run]}"
    script:
        "../workflow/scripts/report.py"
