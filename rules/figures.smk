# One rule for each figure in workflow/engram/catalogue.py, of its name: of an experiment, and of a reproduction's two learning rates.
for name, figure in catalogue.FIGURES.items():

    rule:
        name:
            f"figure_{name}"
        input:
            unpack(read_by(figure)),
        output:
            pdf=EXPERIMENT.figure(name, "pdf"),
            png=report(
                EXPERIMENT.figure(name, "png"),
                caption=f"../workflow/engram/report/captions/{name}.rst",
                category="{experiment}",
            ),
        log:
            f"logs/{{experiment}}/figures/{name}.log",
        conda:
            "../envs/engram.yaml"
        params:
            figure=name,
            reads=figure.reads,
            estimators=estimators_read(figure),
            code=code("figure", f"engram.figures.{name}"),
        message:
            f"Figure {name} of {{wildcards.experiment}}"
        script:
            "../workflow/scripts/figure.py"

    describe(f"figure_{name}", figure.says)


for name, figure in catalogue.PAPER_FIGURES.items():

    rule:
        name:
            f"figure_{name}"
        input:
            read_of_two_rates(figure),
        output:
            pdf=contents.figure_of_rates("{reproduction}", name, "pdf"),
            png=report(
                contents.figure_of_rates("{reproduction}", name, "png"),
                caption=f"../workflow/engram/report/captions/{name}.rst",
                category="{reproduction}",
            ),
        log:
            f"logs/{{reproduction}}/figures/{name.removeprefix('paper_')}.log",
        conda:
            "../envs/engram.yaml"
        resources:
            mem_mb=8000,
            runtime=60,
        params:
            figure=name,
            experiments=extracts_of_two_rates(figure),
            code=code("paper_figure", f"engram.figures.{name}"),
        message:
            f"Figure {name} of {{wildcards.reproduction}}"
        script:
            "../workflow/scripts/paper_figure.py"

    describe(f"figure_{name}", figure.says)
