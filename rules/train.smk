rule train:
    """The models of one repeat (its folds in lockstep), or the full model, at every scored epoch."""
    input:
        dataset=dataset_of,
        # ancient: a check made again is no reason to train again.
        check=ancient(model_check_of),
    output:
        "results/{experiment}/models/{repeat}.h5",
    log:
        "logs/{experiment}/train/{repeat}.log",
    conda:
        "../envs/engram.yaml"
    threads: 1
    resources:
        gpu=gpus_here,
        mem_mb=train_request(requests.train_megabytes),
        runtime=train_request(requests.train_minutes),
    params:
        model=setting("model"),
        training=training_of_any_length,
        epochs=epochs_to_train,
        membership=design_of_a_repeat,
        seed=setting("seed"),
        # Where training saves its state: no output, so that a killed training can go on.
        state="results/{experiment}/models/{repeat}.state",
        code=code_with_model("train"),
    message:
        "Train {wildcards.experiment}, {wildcards.repeat}"
    script:
        "../workflow/scripts/train.py"
