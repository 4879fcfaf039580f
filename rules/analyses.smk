# One rule for each analysis in workflow/engram/catalogue.py, of its name.
for name, analysis in catalogue.ANALYSES.items():

    rule:
        name:
            name
        input:
            unpack(read_by(analysis)),
        output:
            EXPERIMENT.analysis(name),
        log:
            f"logs/{{experiment}}/analyses/{name}.log",
        priority: int(analysis.before_training)
        conda:
            "../envs/engram.yaml"
        threads: analysis.threads
        resources:
            mem_mb=growing(analysis.megabytes),
            runtime=growing(analysis.minutes),
        params:
            analysis=name,
            estimators=estimators_read(analysis),
            seed=setting("seed"),
            features=features_used(analysis),
            content_of_features=content_of_features(analysis),
            code=code_of_analysis(name),
        message:
            f"{analysis.title} of {{wildcards.experiment}}"
        script:
            "../workflow/scripts/analysis.py"

    describe(name, analysis.says)
