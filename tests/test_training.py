"""Training: against a plain loop, resumed after a break, refused where it cannot be right."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open

from convrfm.errors import ConvRFMError, ImageSizeError, InputError, StorageError
from convrfm.networks import PlainCNN
from convrfm.storage import write_bytes
from convrfm.training import TrainingData, TrainingSettings, train


@pytest.fixture
def data(rng):
    labels = rng.integers(0, 3, 20)
    images = rng.standard_normal((20, 1, 6, 7)).astype(np.float32)
    return TrainingData(images, labels, {"test": (images[:8], labels[:8])})


def network(seed=0):
    return PlainCNN((1, 6, 7), 3, width=4, depth=2, patch_size=3, generator=torch.Generator().manual_seed(seed))


def test_the_network_is_what_the_paper_describes():
    model = PlainCNN((3, 32, 32), 10, generator=torch.Generator().manual_seed(0))
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


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_resumes_with_the_same_bits(data, tmp_path, optimizer, shuffle, monkeypatch):
    settings = TrainingSettings(optimizer, learning_rate=0.01, epochs=5, batch_size=8, shuffle=shuffle)
    whole = train(network(), data, settings, seed=1)
    checkpoint = tmp_path / "checkpoint.safetensors"
    import convrfm.training as module

    count = 0
    original = module._epoch

    def broken(*arguments):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(module, "_epoch", broken)
    with pytest.raises(KeyboardInterrupt):
        train(network(), data, settings, seed=1, checkpoint=checkpoint)
    resumed = train(network(), data, settings, seed=1, checkpoint=checkpoint)
    assert count == 2 + 1 + 3  # two epochs, the break, and the three that were missing
    assert resumed.history.equals(whole.history)
    for name in whole.final:
        assert (resumed.final[name] == whole.final[name]).all()
        assert (resumed.initial[name] == whole.initial[name]).all()


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
    "changes", [{"optimizer": "rmsprop"}, {"learning_rate": 0.0}, {"epochs": 0}, {"batch_size": 0}]
)
def test_settings_out_of_range(changes):
    with pytest.raises(InputError):
        TrainingSettings(**changes)


@pytest.mark.gpu
def test_trains_on_a_gpu(data):
    settings = TrainingSettings(learning_rate=0.01, epochs=3, batch_size=8)
    on_cpu, on_gpu = (train(network(), data, settings, seed=0, device=device) for device in ("cpu", "cuda"))
    for name in on_cpu.final:
        assert np.allclose(on_cpu.final[name], on_gpu.final[name], atol=1e-4)
