rule report:
    """One self-contained page of everything found in the experiments of `run:`."""
    input:
        report_inputs,
    output:
        "results/report.html",
    log:
        "logs/report.log",
    conda:
        "../envs/engram.yaml"
    params:
        experiments=[report_experiment(experiment) for experiment in config["run"]],
        code=code("report"),
        page=page(),
    message:
        "Report of {config[run]}"
    script:
        "../workflow/scripts/report.py"
