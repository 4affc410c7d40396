"""Train the plain convolutional network on a local-signal task at one noise level."""

import numpy as np
import torch

from convrfm.datasets.local_signal import TASKS
from convrfm.errors import ConfigError
from convrfm.networks import PlainCNN
from convrfm.pipeline.jobs.draw import read_draw
from convrfm.pipeline.protocols import VALIDATION_FRACTION
from convrfm.pipeline.session import Job
from convrfm.splits import stratified_draw
from convrfm.storage import write_arrays, write_table
from convrfm.training import TrainingData, TrainingSettings, train

__all__ = ["train_task"]


def train_task(job: Job) -> None:
    """Write the accuracy after every epoch, the weights at start and end, and the record.

    The column `selection_accuracy` is what picks the best epoch: that of the test images under `published`, as the
    paper does it, and that of the validation images under `corrected`.
    """
    given = job.settings
    task, protocol, sigma, seed = (given[key] for key in ("task", "protocol", "sigma", "seed"))
    settings = TrainingSettings(
        **{key: given[key] for key in ("optimizer", "learning_rate", "epochs", "batch_size")},
        shuffle=protocol == "corrected",
    )
    draw = read_draw(job.input("draw"))
    noise_std = TASKS[task](sigma)
    images, labels = draw.train.images(noise_std), draw.train.labels
    parts = {"test": (draw.test.images(noise_std), draw.test.labels)}
    fit = np.arange(len(labels))
    if protocol == "corrected":
        held_out = stratified_draw(labels, round(VALIDATION_FRACTION * len(labels)), np.random.default_rng([seed, 1]))
        parts["validation"] = (images[held_out], labels[held_out])
        fit = np.setdiff1d(fit, held_out)
    torch.set_num_threads(job.threads)
    torch.use_deterministic_algorithms(mode=True)
    network = PlainCNN(
        images.shape[1:],
        int(max(labels.max(), draw.test.labels.max())) + 1,
        **{key: given[key] for key in ("width", "depth", "patch_size")},
        generator=torch.Generator().manual_seed(seed),
    )
    device = _device(given["device"])
    checkpoint = job.outputs["record"].with_name("checkpoint.safetensors")
    result = train(
        network,
        TrainingData(images[fit], labels[fit], parts),
        settings,
        seed=seed,
        checkpoint=checkpoint,
        device=device,
        description=f"{task} sigma {sigma:g} {settings.optimizer}",
        show=True,
    )
    history = result.history
    history["selection_accuracy"] = history["validation_accuracy" if protocol == "corrected" else "test_accuracy"]
    write_table(job.outputs["metrics"], history)
    weights = {"initial": result.initial, "final": result.final}
    write_arrays(
        job.outputs["arrays"], {f"{when}/{name}": a for when, named in weights.items() for name, a in named.items()}
    )
    trained = history[history["epoch"] > 0]
    best = trained.loc[trained["selection_accuracy"].idxmax()]
    job.recorder.notes |= {
        "seed": seed,
        "protocol": protocol,
        "device": device,
        "training": vars(settings),
        "best_epoch": int(best["epoch"]),
        "best_epoch_test_accuracy": float(best["test_accuracy"]),
        "last_epoch_test_accuracy": float(trained["test_accuracy"].iloc[-1]),
    }
    job.write_record()
    checkpoint.unlink(missing_ok=True)


def _device(wanted: str) -> str:
    """The device to train on.

    Raises:
        ConfigError: CUDA was asked for, and there is none.
    """
    available = torch.cuda.is_available()
    if wanted == "cuda" and not available:
        msg = "device is 'cuda', but PyTorch finds no CUDA device here: use 'auto' or 'cpu'."
        raise ConfigError(msg)
    return "cuda" if available and wanted != "cpu" else "cpu"
