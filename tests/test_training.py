"""Training: against a plain loop, resumed after a break, refused where it cannot be right."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save
from torch import nn

from convrfm.errors import ConvRFMError, ConvRFMWarning, ImageSizeError, InputError, StorageError
from convrfm.networks.plain_cnn import PlainCNN
from convrfm.system.storage import digest_of, write_bytes
from convrfm.training import TrainingData, TrainingSettings, loop, train
from convrfm.training.checkpoint import previous_path
from convrfm.training.loop import MARGIN, CropFlip

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def data(rng):
    labels = rng.integers(0, 3, 20)
    images = rng.standard_normal((20, 1, 6, 7)).astype(np.float32)
    return TrainingData(images, labels, {"test": (images[:8], labels[:8])})


def network(seed=0):
    return PlainCNN((1, 6, 7), 3, width=4, depth=2, patch_size=3, generator=torch.Generator().manual_seed(seed))


def test_the_network_is_what_the_paper_describes():
    before = torch.get_rng_state()
    model = PlainCNN((3, 32, 32), 10, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), before)
    shapes = [tuple(weight.shape) for weight in model.parameters()]
    assert shapes == [(64, 3, 3, 3), (64, 64, 3, 3), (64, 64, 3, 3), (10, 64 * 26 * 26)]
    torch.manual_seed(0)
    default = torch.nn.Conv2d(64, 64, 3, bias=False).weight
    assert model.convolutions[1].weight.std().item() == pytest.approx(default.std().item(), rel=0.02)
    with pytest.raises(ImageSizeError):
        PlainCNN((1, 6, 6), 2, generator=torch.Generator())


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_agrees_with_a_plain_loop(data, optimizer):
    settings = TrainingSettings(optimizer, learning_rate=0.01, epochs=3, batch_size=8)
    result = train(network(), data, settings, seed=0)
    model = network()
    assert all((result.initial[name] == value.detach().numpy()).all() for name, value in model.state_dict().items())
    plain = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer](model.parameters(), lr=0.01)
    x, y = torch.from_numpy(data.images), torch.eye(3)[torch.from_numpy(data.labels)]
    for _ in range(3):
        for batch in (slice(0, 8), slice(8, 16), slice(16, 20)):  # not shuffled
            plain.zero_grad()
            ((model(x[batch]) - y[batch]) ** 2).mean().backward()
            plain.step()
    for name, value in model.state_dict().items():
        assert np.allclose(result.final[name], value.numpy(), atol=1e-6)
    accuracy = (model(x[:8]).argmax(1).numpy() == data.labels[:8]).mean()
    assert result.history["test_accuracy"].iloc[-1] == accuracy
    assert list(result.history["epoch"]) == [0, 1, 2, 3]
    assert np.isnan(result.history["train_loss"].iloc[0])


def rich_network():
    """Batch norm, both kinds of dropout: everything that a checkpoint has to know of."""
    generator = torch.Generator().manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4, momentum=0.05), nn.ReLU(), nn.Dropout2d(0.3),
        nn.Flatten(), nn.Dropout(0.2), nn.Linear(4 * 42, 3),
    )  # fmt: skip
    for parameter in layers.parameters():
        parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
    return layers


RICH = {
    "epochs": 5, "batch_size": 8, "shuffle": True, "loss": "cross-entropy", "weight_decay": 1e-3, "milestones": (2, 4),
    "augmentation": "crop-flip", "evaluate_every": 2, "keep": "best", "snapshots": (0, 1, 3),
}  # fmt: skip


class Killed(Exception):
    pass


def train_killed_after(epochs, make, data, settings, checkpoint, monkeypatch):
    """Train anew, and break off within the epoch after these, when some of its batches are done."""
    import convrfm.training.loop as module

    original = module._epoch

    def broken(*arguments, epoch, **others):
        loss = original(*arguments, epoch=epoch, **others)
        if epoch == epochs + 1:
            raise Killed
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(module, "_epoch", broken)
        with pytest.raises(Killed):
            train(make(), data, settings, seed=1, checkpoint=checkpoint)


def watch_epochs(monkeypatch):
    """The epochs that are trained from now on, in their order."""
    import convrfm.training.loop as module

    original, trained = module._epoch, []

    def watched(*arguments, epoch, **others):
        trained.append(epoch)
        return original(*arguments, epoch=epoch, **others)

    monkeypatch.setattr(module, "_epoch", watched)
    return trained


def assert_same_bits(found, expected):
    assert found.history.equals(expected.history)
    assert found.kept_epoch == expected.kept_epoch
    pairs = [(found.initial, expected.initial), (found.final, expected.final)]
    assert list(found.snapshots) == list(expected.snapshots)
    pairs += [(found.snapshots[epoch], expected.snapshots[epoch]) for epoch in expected.snapshots]
    assert list(found.correct) == list(expected.correct)
    pairs += [(found.correct[epoch], expected.correct[epoch]) for epoch in expected.correct]
    for one, other in pairs:
        assert set(one) == set(other)
        for name in other:
            assert one[name].dtype == other[name].dtype
            assert np.array_equal(one[name], other[name]), name


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "adadelta"])
@pytest.mark.parametrize("done", [0, 1, 2, 3, 4])
def test_resumes_with_the_same_bits(data, tmp_path, monkeypatch, optimizer, done):
    settings = TrainingSettings(optimizer, learning_rate=0.05, **RICH)
    whole = train(rich_network(), data, settings, seed=1)
    assert list(whole.snapshots) == [0, 1, 3]
    checkpoint = tmp_path / "checkpoint.safetensors"
    train_killed_after(done, rich_network, data, settings, checkpoint, monkeypatch)
    assert checkpoint.exists() == (done > 0)
    torch.manual_seed(done)  # another state of the global generator, as in another process
    trained = watch_epochs(monkeypatch)
    assert_same_bits(train(rich_network(), data, settings, seed=1, checkpoint=checkpoint), whole)
    assert trained == list(range(done + 1, 6))  # those that were missing
    # Nothing is left to do for a third call.
    assert_same_bits(train(rich_network(), data, settings, seed=1, checkpoint=checkpoint), whole)
    assert len(trained) == 5 - done


@pytest.mark.parametrize("shuffle", [True, False])
def test_the_papers_network_resumes_with_the_same_bits(data, tmp_path, monkeypatch, shuffle):
    settings = TrainingSettings(learning_rate=0.01, epochs=4, batch_size=8, shuffle=shuffle)
    whole = train(network(), data, settings, seed=1)
    checkpoint = tmp_path / "checkpoint.safetensors"
    train_killed_after(2, network, data, settings, checkpoint, monkeypatch)
    trained = watch_epochs(monkeypatch)
    assert_same_bits(train(network(), data, settings, seed=1, checkpoint=checkpoint), whole)
    assert trained == [3, 4]


def test_what_a_checkpoint_forgets_is_seen(data, tmp_path, monkeypatch):
    """The comparison above fails when the state of the optimizer, or that of batch norm, is lost."""
    settings = TrainingSettings("adadelta", learning_rate=0.05, **RICH)
    whole = train(rich_network(), data, settings, seed=1)
    checkpoint = tmp_path / "checkpoint.safetensors"
    for lost in ("optimizer/0/square_avg", "weight/1.running_mean"):
        for path in tmp_path.iterdir():
            path.unlink()
        train_killed_after(3, rich_network, data, settings, checkpoint, monkeypatch)
        with safe_open(checkpoint, framework="np") as file:
            metadata, arrays = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        arrays[lost] = np.zeros_like(arrays[lost])
        metadata["digest"] = digest_of({}, arrays)
        write_bytes(checkpoint, save(arrays, metadata))
        resumed = train(rich_network(), data, settings, seed=1, checkpoint=checkpoint)
        assert not np.array_equal(resumed.final["0.weight"], whole.final["0.weight"]) or not np.array_equal(
            resumed.final["1.running_mean"], whole.final["1.running_mean"]
        )


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [cut, flip, lambda path: path.write_bytes(b"")])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(data, tmp_path, monkeypatch, damage):
    settings = TrainingSettings("adam", learning_rate=0.05, **RICH)
    whole = train(rich_network(), data, settings, seed=1)
    checkpoint = tmp_path / "checkpoint.safetensors"
    train_killed_after(3, rich_network, data, settings, checkpoint, monkeypatch)
    damage(checkpoint)
    trained = watch_epochs(monkeypatch)
    with pytest.warns(ConvRFMWarning, match="is damaged .* goes on from the one before, after epoch 2"):
        resumed = train(rich_network(), data, settings, seed=1, checkpoint=checkpoint)
    assert_same_bits(resumed, whole)
    assert trained == [3, 4, 5]


def test_a_kill_between_two_checkpoints_leaves_the_one_before(data, tmp_path, monkeypatch):
    settings = TrainingSettings("adam", learning_rate=0.05, **RICH)
    whole = train(rich_network(), data, settings, seed=1)
    checkpoint = tmp_path / "checkpoint.safetensors"
    train_killed_after(3, rich_network, data, settings, checkpoint, monkeypatch)
    checkpoint.unlink()
    trained = watch_epochs(monkeypatch)
    assert_same_bits(train(rich_network(), data, settings, seed=1, checkpoint=checkpoint), whole)
    assert trained == [3, 4, 5]


def test_nothing_but_damaged_checkpoints_is_refused(data, tmp_path, monkeypatch):
    settings = TrainingSettings("adam", learning_rate=0.05, **RICH)
    checkpoint = tmp_path / "checkpoint.safetensors"
    train_killed_after(3, rich_network, data, settings, checkpoint, monkeypatch)
    cut(checkpoint)
    cut(previous_path(checkpoint))
    with pytest.raises(StorageError, match=r"previous.safetensors is damaged .* delete it to start over"):
        train(rich_network(), data, settings, seed=1, checkpoint=checkpoint)


def test_global_generators_are_left_alone(data):
    model = rich_network()
    torch.manual_seed(7)
    before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()
    train(model, data, TrainingSettings("sgd", **RICH), seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()


def test_modes(data):
    """Dropout and batch norm work while training, and are still while measuring and afterwards."""
    seen = []
    model = rich_network()
    model[3].register_forward_hook(lambda layer, inputs, output: seen.append((layer.training, len(output))))
    train(model, data, TrainingSettings("sgd", epochs=1, batch_size=8), seed=0)
    # One image for the number of outputs, then the test images, the epoch, and the test images again.
    assert seen == [(False, 1), (False, 8), (True, 8), (True, 8), (True, 4), (False, 8)]
    assert not model.training


def test_adadelta_milestones_and_weight_decay_agree_with_a_plain_loop(data):
    settings = TrainingSettings(
        "adadelta", learning_rate=0.5, epochs=4, batch_size=8, loss="cross-entropy", weight_decay=0.02,
        milestones=(1, 3), decay=0.2,
    )  # fmt: skip
    result = train(network(), data, settings, seed=0)
    weights = [value.detach().clone().requires_grad_() for value in network().parameters()]
    squares, steps = ([torch.zeros_like(value) for value in weights] for _ in range(2))
    x, y = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    for rate in (0.5, 0.5 * 0.2, 0.5 * 0.2, 0.5 * 0.2**2):
        for batch in (slice(0, 8), slice(8, 16), slice(16, 20)):
            features = x[batch]
            for filters in weights[:2]:
                features = torch.nn.functional.conv2d(features, filters).clamp(min=0)
            logits = features.flatten(1) @ weights[2].T
            loss = (logits.logsumexp(1) - logits[torch.arange(len(logits)), y[batch]]).mean()
            gradients = torch.autograd.grad(loss, weights)
            # Zeiler 2012, Algorithm 1, with an L2 penalty.
            for weight, gradient, square, step in zip(weights, gradients, squares, steps, strict=True):
                change = gradient + 0.02 * weight.detach()
                square.mul_(0.9).add_(0.1 * change**2)
                delta = ((step + 1e-3).sqrt() / (square + 1e-3).sqrt()) * change
                step.mul_(0.9).add_(0.1 * delta**2)
                weight.data -= rate * delta
    moved = max(float(np.abs(result.final[name] - result.initial[name]).max()) for name in result.final)
    assert moved > 0.05
    for value, weight in zip(result.final.values(), weights, strict=True):
        assert np.allclose(value, weight.detach().numpy(), atol=2e-6)
    # Each part of the recipe is seen by this comparison.
    for change in ({"weight_decay": 0.0}, {"milestones": (1,)}, {"decay": 0.1}, {"loss": "mse"}):
        other = train(network(), data, replace(settings, **change), seed=0).final
        assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(other.values(), result.final.values(), strict=True))


def test_keeps_the_best_epoch(data):
    settings = TrainingSettings("sgd", learning_rate=0.5, epochs=12, batch_size=8, keep="best", snapshots=tuple(range(13)))
    model = network()
    result = train(model, data, settings, seed=0)
    trained = result.history.iloc[1:]
    best = int(trained.loc[trained["test_accuracy"].idxmax(), "epoch"])
    assert result.kept_epoch == best
    assert best < 12  # or this test would not tell best from last
    for name, value in model.state_dict().items():
        assert np.array_equal(result.final[name], result.snapshots[best][name])
        assert np.array_equal(result.final[name], value.numpy())
    last = train(network(), data, replace(settings, keep="last"), seed=0)
    assert last.kept_epoch == 12
    assert np.array_equal(last.final["readout.weight"], result.snapshots[12]["readout.weight"])
    with pytest.raises(InputError, match="no part"):
        train(network(), TrainingData(data.images, data.labels), settings, seed=0)


def test_stops_when_the_loss_is_low(data, tmp_path):
    settings = TrainingSettings("adam", learning_rate=0.01, epochs=12, batch_size=8, evaluate_every=100)
    losses = train(network(), data, settings, seed=0).history["train_loss"].to_numpy()
    assert (np.diff(losses[1:]) < 0).all()
    line = float(losses[5] + losses[6]) / 2
    checkpoint = tmp_path / "checkpoint.safetensors"
    stopping = replace(settings, stop_below=line, snapshots=(0, 6, 7))
    for _ in range(2):  # the second call finds that it was done
        result = train(network(), data, stopping, seed=0, checkpoint=checkpoint)
        assert list(result.history["epoch"]) == list(range(7))
        assert list(result.snapshots) == [0, 6]
        assert result.kept_epoch == 6
        # The last epoch is measured, whatever evaluate_every is.
        assert list(result.history["test_accuracy"].notna()) == [True] + 5 * [False] + [True]


def test_crops_and_flips_are_those_of_a_padded_image(rng):
    images = torch.from_numpy(rng.standard_normal((30, 2, 6, 9)).astype(np.float32))
    border = torch.tensor([-3.0, 5.0])
    change = CropFlip(30, border, np.random.default_rng(0))
    order = torch.from_numpy(rng.permutation(30))
    found = torch.cat([change(images[batch], batch) for batch in order.split(7)])
    for image, index in zip(found, order, strict=True):
        padded = border[:, None, None].expand(2, 6 + 2 * MARGIN, 9 + 2 * MARGIN).clone()
        padded[:, MARGIN:-MARGIN, MARGIN:-MARGIN] = images[index]
        top, left = (int(shift) + MARGIN for shift in change.shifts[index])
        crop = padded[:, top : top + 6, left : left + 9]
        assert torch.equal(image, crop.flip(2) if change.flips[index] else crop)
    assert set(change.shifts.flatten().tolist()) == set(range(-MARGIN, MARGIN + 1))
    assert 5 < change.flips.sum() < 25


def test_augmentation_changes_with_the_epoch_and_fills_with_the_border(data):
    class Watching(nn.Module):
        def __init__(self):
            super().__init__()
            self.readout = nn.Linear(42, 3)
            self.seen = []

        def forward(self, images):
            if self.training:
                self.seen.append(images)
            return self.readout(images.flatten(1))

    model = Watching()
    bordered = TrainingData(data.images, data.labels, border=np.array([9.0], np.float32))
    train(model, bordered, TrainingSettings(epochs=2, batch_size=20, augmentation="crop-flip"), seed=0)
    first, second = model.seen
    assert not torch.equal(first, second)
    assert (first == 9.0).any()
    assert set(first.unique().tolist()) <= {9.0, *torch.from_numpy(data.images).unique().tolist()}


def test_mixed_precision_is_close_to_single(data):
    settings = TrainingSettings("sgd", learning_rate=0.05, epochs=3, batch_size=8)
    single = train(network(), data, settings, seed=0).final
    mixed = train(network(), data, replace(settings, mixed_precision=True), seed=0).final
    for name in single:
        assert mixed[name].dtype == np.float32
        assert np.allclose(single[name], mixed[name], atol=0.01)
        assert not np.array_equal(single[name], mixed[name])


def test_the_accuracy_of_each_epoch_is_the_mean_of_what_is_correct(data):
    settings = TrainingSettings(epochs=5, batch_size=8, evaluate_every=2, learning_rate=1e-2)
    data = replace(data, parts={**data.parts, "other": (data.images[8:], data.labels[8:])})
    result = train(network(), data, settings, seed=0)
    assert list(result.correct) == [0, 2, 4, 5]  # the epochs whose accuracy is measured
    measured = result.history.set_index("epoch")
    for epoch, parts in result.correct.items():
        for name, correct in parts.items():
            assert correct.dtype == bool
            assert correct.shape == (len(data.parts[name][1]),)
            assert correct.mean() == measured.loc[epoch, f"{name}_accuracy"]
    assert measured.loc[[1, 3], "test_accuracy"].isna().all()
    final = network()
    final.load_state_dict({name: torch.from_numpy(value) for name, value in result.final.items()})
    predicted = final(torch.from_numpy(data.images[:8])).argmax(1).numpy()
    assert np.array_equal(result.correct[5]["test"], predicted == data.labels[:8])


def test_a_checkpoint_that_lacks_what_was_correct_is_refused(data, tmp_path, monkeypatch):
    """As an older version wrote it."""
    checkpoint, settings = tmp_path / "checkpoint.safetensors", TrainingSettings(epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "FORMAT", 1)
        train(network(), data, settings, seed=0, checkpoint=checkpoint)
    with pytest.raises(ConvRFMError, match="belongs to other"):
        train(network(), data, settings, seed=0, checkpoint=checkpoint)


def test_a_checkpoint_of_other_settings_is_refused(data, tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    settings = TrainingSettings(epochs=1)
    train(network(), data, settings, seed=0, checkpoint=checkpoint)
    with safe_open(checkpoint, framework="np") as file:
        assert json.loads(file.metadata()["identity"])["epochs"] == 1
    with pytest.raises(ConvRFMError, match="belongs to other"):
        train(network(), data, TrainingSettings(epochs=2), seed=0, checkpoint=checkpoint)
    other = TrainingData(data.images + 1, data.labels)
    with pytest.raises(ConvRFMError, match="belongs to other"):
        train(network(), other, settings, seed=0, checkpoint=checkpoint)
    wider = PlainCNN((1, 6, 7), 3, width=5, depth=2, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ConvRFMError, match="belongs to other"):
        train(wider, data, settings, seed=0, checkpoint=checkpoint)


def test_a_damaged_checkpoint_is_refused(data, tmp_path):
    checkpoint = tmp_path / "checkpoint.safetensors"
    train(network(), data, TrainingSettings(epochs=1), seed=0, checkpoint=checkpoint)
    write_bytes(checkpoint, checkpoint.read_bytes()[:100])
    with pytest.raises(StorageError, match="delete it"):
        train(network(), data, TrainingSettings(epochs=1), seed=0, checkpoint=checkpoint)


def test_divergence_is_an_error(data):
    bright = TrainingData(data.images * np.float32(1e20), data.labels)
    with pytest.raises(ConvRFMError, match="smaller learning_rate"):
        train(network(), bright, TrainingSettings("sgd"), seed=0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"optimizer": "rmsprop"}, "optimizer must be one of adam, sgd, adadelta, but it is 'rmsprop'"),
        ({"loss": "hinge"}, "loss must be one of mse, cross-entropy"),
        ({"augmentation": "mixup"}, "augmentation must be one of none, crop-flip"),
        ({"keep": "first"}, "keep must be one of last, best"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, but it is 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be positive"),
        ({"decay": -0.1}, "decay must be positive"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"evaluate_every": 0}, "evaluate_every must be at least 1"),
        ({"weight_decay": -1e-3}, "weight_decay must be 0 or positive"),
        ({"stop_below": -1.0}, "stop_below must be 0 or positive"),
        ({"milestones": (3, 2)}, "milestones must be rising epochs from 1"),
        ({"milestones": (0,)}, "milestones must be rising epochs from 1"),
        ({"snapshots": (0, 26)}, "snapshots must be rising epochs from 0 to 25"),
        ({"snapshots": (-1,)}, "snapshots must be rising"),
        ({"snapshots": (1, 1)}, "snapshots must be rising"),
    ],
)
def test_settings_out_of_range(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        TrainingSettings(**changes)


@pytest.mark.gpu
def test_trains_on_a_gpu(data):
    settings = TrainingSettings(learning_rate=0.01, epochs=3, batch_size=8)
    on_cpu, on_gpu = (train(network(), data, settings, seed=0, device=device) for device in ("cpu", "cuda"))
    for name in on_cpu.final:
        assert np.allclose(on_cpu.final[name], on_gpu.final[name], atol=1e-4)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_bits_again(data, tmp_path, monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    settings = TrainingSettings("adadelta", learning_rate=0.05, **RICH)
    torch.use_deterministic_algorithms(mode=True)
    try:
        before = torch.cuda.get_rng_state()
        whole = train(rich_network(), data, settings, seed=1, device="cuda")
        assert torch.equal(torch.cuda.get_rng_state(), before)
        checkpoint = tmp_path / "checkpoint.safetensors"
        for _ in range(2):
            again = train(rich_network(), data, settings, seed=1, device="cuda", checkpoint=checkpoint)
            assert_same_bits(again, whole)
    finally:
        torch.use_deterministic_algorithms(mode=False)
