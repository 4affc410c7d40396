"""The figures: a rule that draws each, under each protocol, and a target of its name."""

for name in FIGURES:

    rule:
        name:
            f"draw_{name}"
        input:
            **figure_inputs(name),
        output:
            **figure_outputs(name),
        log:
            f"{RESULTS}/logs/figures/{{protocol}}/{name}.log",
        conda:
            ENVIRONMENT
        resources:
            **needs(f"draw_{name}"),
        params:
            **figure_params(name),
        script:
            "../scripts/job.py"

    rule:
        name:
            name
        input:
            asked_often(target_files, name),
        localrule: True
