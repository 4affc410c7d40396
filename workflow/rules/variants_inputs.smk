"""What fits that change single choices of their protocol see of the configuration."""

from convrfm.datasets.local_signal import SHAPES
from convrfm.pipeline.fit_memory import fit_bytes
from convrfm.pipeline.protocols import RFM_CHOICES
from convrfm.pipeline.sections.beyond import UNCHANGED, variant_name

CHOICES = SETTINGS.preset.beyond.choices
STUDIED = next(iter(STUDIES))
AGOP_CHANGES = [{"agop_samples": count} for count in [*CHOICES.agop_samples, "all"]]
SINGLE_CHANGES = [change.values for change in CHOICES.changes]
# Changes that ConvRFM, which is the first stage, does not see.
OF_FEATURES = ("nonlinearity", "plain_filters")


def less_chosen(protocol, changes):
    """Changes, less those that the protocol has anyway."""
    return {key: value for key, value in changes.items() if RFM_CHOICES[protocol].get(key) != value}


def variant_of(protocol, changes):
    """Name of the variant with these changes."""
    return variant_name(less_chosen(protocol, changes))


VARIANTS = {
    variant_of(protocol, changes): less_chosen(protocol, changes)
    for protocol in RFM_CHOICES
    for changes in [{}, *AGOP_CHANGES, *SINGLE_CHANGES]
}


def variant_stages(wildcards):
    """Stages of a fit: those of the task, or where features between stages are looked at, those of the choices."""
    n_train, changes = int(wildcards.n_train), VARIANTS[wildcards.variant]
    is_choice = wildcards.task == STUDIED and n_train == CHOICES.n_train
    wants_all = wildcards.variant == UNCHANGED or any(key in OF_FEATURES for key in changes)
    return CHOICES.stages if is_choice and wants_all else STUDIES[wildcards.task].rfm.stages


def variant_settings(wildcards):
    """What one such fit sees of the configuration."""
    study = STUDIES[wildcards.task]
    return {
        **study.model_dump(include={"task", "n_test", "depth", "patch_size"}),
        "n_train": int(wildcards.n_train),
        "sigma": float(wildcards.sigma),
        "protocol": wildcards.protocol,
        "seed": int(wildcards.seed),
        "rfm": {**study.rfm.model_dump(), "stages": variant_stages(wildcards)},
        "changes": VARIANTS[wildcards.variant],
        **SETTINGS.config.model_dump(include={"backend", "memory_mb"}),
    }


def variant_memory(wildcards):
    """MiB that one such fit takes."""
    study = STUDIES[wildcards.task]
    height, width = SHAPES[wildcards.task]
    return fit_bytes(int(wildcards.n_train), study.n_test, study.rfm.filters, height * width) // 2**20


def variant_run(protocol, file, task, n_train, changes, seed):
    """One file of one such fit."""
    variant = variant_of(protocol, changes)
    sigma = STUDIES[task].sigma
    return run_file("variant", protocol, file, variant=variant, task=task, sigma=sigma, n_train=n_train, seed=seed)


def variant_draw(wildcards):
    """The draw that one such fit takes its first images from, which is as large as the largest of its task."""
    study = STUDIES[wildcards.task]
    counts = {"n_train": max(study.n_train), "n_test": study.n_test}
    return run_file("sized-draw", wildcards.protocol, "arrays", task=wildcards.task, **counts, seed=wildcards.seed)


def sized_draw_settings(wildcards):
    """What a draw of a given size sees of the configuration."""
    counts = {key: int(wildcards[key]) for key in ("n_train", "n_test", "seed")}
    return {"task": wildcards.task, "protocol": wildcards.protocol, **counts}
