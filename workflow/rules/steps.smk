"""Large fits over several jobs: kernel matrices in parts, then a round, then the next one (section `split` of the preset)."""

STEP_LOGS = f"{RESULTS}/logs/steps/{{experiment}}/{{protocol}}/{{run}}"


rule fill_gram:
    input:
        draw=asked_often(step_draw, PLAN),
        rounds=asked_often(step_rounds, PLAN),
    output:
        train=temp(part_pattern(RESULTS, "train")),
        test=temp(part_pattern(RESULTS, "test")),
    log:
        f"{STEP_LOGS}/{{stage}}-{{round}}.part-{{part}}-of-{{parts}}.log",
    # The longest jobs first.
    priority: 10
    conda:
        ENVIRONMENT
    threads: threads_of("fill_gram")
    resources:
        **needs("fill_gram"),
    params:
        settings=asked_often(step_settings, PLAN),
        code=run_code("rfm"),
    script:
        "../scripts/fill_gram.py"


rule fit_round:
    input:
        draw=asked_often(step_draw, PLAN),
        rounds=asked_often(step_rounds, PLAN),
        parts=asked_often(step_parts, PLAN),
    output:
        round=temp(round_pattern(RESULTS)),
    log:
        f"{STEP_LOGS}/round-{{stage}}-{{round}}.log",
    priority: 10
    conda:
        ENVIRONMENT
    threads: threads_of("fit_round")
    resources:
        **needs("fit_round"),
    params:
        settings=asked_often(step_settings, PLAN),
        code=run_code("rfm"),
    script:
        "../scripts/fit_round.py"
