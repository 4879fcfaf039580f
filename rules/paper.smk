rule reproduction:
    """Each number and claim of the paper beside what these experiments find, as published and corrected."""
    input:
        reproduction_inputs,
    output:
        REPRODUCTION.table,
    log:
        "logs/{reproduction}/reproduction.log",
    conda:
        "../envs/engram.yaml"
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        experiments=reproduction_experiments,
        code=code("reproduction"),
    message:
        "The paper's numbers beside those of {wildcards.reproduction}"
    script:
        "../workflow/scripts/reproduction.py"


use rule report as reproduction_report with:
    """The report of the experiments that stand for the paper's, with the paper's numbers beside theirs."""
    input:
        reproduction_report_inputs,
    output:
        REPRODUCTION.report,
    log:
        "logs/{reproduction}/report.log",
    params:
        experiments=lambda wildcards: list(reproduction_experiments(wildcards).values()),
        reproduction=reproduction_page,
        code=code("report"),
        page=page(),
    message:
        "Report of {wildcards.reproduction}"
