"""Negative controls: the code is broken on purpose, run for real on small inputs, and verdicts are seen to turn."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits

from claims.made_up import put
from convrfm.ansatz import theorem
from convrfm.ansatz.accumulator import LayerSums
from convrfm.ansatz.agop import measure
from convrfm.ansatz.filter_forms import BlockCorrelation, FilterForm
from convrfm.ansatz.summaries import LayerAgop
from convrfm.datasets.local_signal import TASKS, noisy_bars
from convrfm.kernels import CNTK
from convrfm.networks.plain_cnn import PlainCNN
from convrfm.networks.shallow import ShallowCNN
from convrfm.numerics.inputs import generator
from convrfm.replication.audit.judging import judge_claim
from convrfm.replication.claims.claims import load_claims
from convrfm.replication.claims.verdicts import Verdict
from convrfm.replication.figures import fig01, fig05
from convrfm.replication.figures.accuracies import ScoredRun
from convrfm.replication.figures.theorem1 import tidy
from convrfm.replication.jobs.ansatz import _means, _numbers
from convrfm.replication.runs.protocols import RFM_CHOICES
from convrfm.rfm.deep import DeepSettings, fit_stages, history_of
from convrfm.rfm.rounds import RFMSettings, StageData
from convrfm.training import TrainingData, TrainingSettings, train

BY_ID = {claim.id: claim for claim in load_claims()}


pytestmark = pytest.mark.usefixtures("one_thread")


def verdict_of(tmp_path, claim, figure, table):
    results = tmp_path / "results" / "tiny"
    put(results, figure, table)
    return judge_claim(BY_ID[claim], results, "published", "tiny")


def other_order(dimension, q=3):
    """Where (row, column, channel) finds what (channel, row, column) has put there."""
    return np.arange(dimension).reshape(-1, q, q).transpose(1, 2, 0).ravel()


# Labels. Figure 5 on noisy bars, few images and the paper's own code path: draw, fits, trainings, table, verdict.

SIGMA, N_TRAIN, N_TEST = 1.0, 125, 250


def accuracies(spoil):
    runs = []
    for seed in range(3):
        draw, rng = noisy_bars(N_TRAIN, N_TEST, seed=seed), generator(seed, "negative control")
        train_images, test_images = (part.images(TASKS["bars"](SIGMA)) for part in (draw.train, draw.test))
        labels = spoil(draw.train.labels, rng)
        data = StageData(train_images, labels, 2, np.arange(N_TRAIN), test_images, draw.test.labels)
        rfm = RFMSettings(rounds=2, ridges=(1e-5,), **RFM_CHOICES["published"])
        stages = fit_stages(CNTK(depth=3, patch_size=3), data, rfm, DeepSettings(stages=2, filters=12), rng)
        keys = {"protocol": "published", "task": "bars", "sigma": f"{SIGMA:g}", "seed": str(seed)}
        sizes = {"n_train": N_TRAIN, "n_test": N_TEST}
        runs.append(ScoredRun({**keys, "experiment": "rfm"}, sizes, history_of(stages), str(seed)))
        network = PlainCNN((1, 16, 32), 2, width=32, generator=torch.Generator().manual_seed(seed))
        given = TrainingData(train_images, labels, {"test": (test_images, draw.test.labels)})
        history = train(network, given, TrainingSettings(epochs=20, batch_size=25, learning_rate=1e-3), seed=seed).history
        history = history.assign(selection_accuracy=history["test_accuracy"])
        runs.append(ScoredRun({**keys, "experiment": "cnn", "optimizer": "adam"}, sizes, history, str(seed)))
    return fig05.tidy(runs)


def test_shuffled_labels_turn_a10(tmp_path):
    found = verdict_of(tmp_path, "A10", "fig05", accuracies(lambda labels, rng: labels))
    assert found.verdict is Verdict.REPRODUCED, found.reason
    found = verdict_of(tmp_path, "A10", "fig05", accuracies(lambda labels, rng: rng.permutation(labels)))
    # Nobody learns anything, so that there is nothing to gain; a few draws leave it open whether it is less than 5 points.
    assert found.verdict in (Verdict.NOT_REPRODUCED, Verdict.INCONCLUSIVE), found.reason
    assert not any(each.holds for each in found.measurements)


# Patch order and chain rule. Theorem 1 as it is checked.


def check_of_theorem():
    checks = []
    size = {"images": 8, "channels": 3, "height": 8, "width": 8, "patch_size": 3, "filters": 6}
    for seed in range(2):
        rng = np.random.default_rng(seed)
        images, targets = rng.standard_normal((8, 3, 8, 8)), rng.standard_normal(8)
        run = partial(theorem.check_theorem, images=images, targets=targets, filters=6, patch_size=3, learning_rate=0.5)
        checks += [(size, seed, run(case, seed=seed)) for case in theorem.CASES]
    return tidy(checks, "published")


def test_a_swapped_patch_order_turns_a6(tmp_path, monkeypatch):
    assert verdict_of(tmp_path, "A6", "theorem1", check_of_theorem()).verdict is Verdict.REPRODUCED
    right = theorem._Network.patch_agop

    def swapped(self, patches):
        order = other_order(patches.shape[1])
        return right(self, patches)[np.ix_(order, order)]

    monkeypatch.setattr(theorem._Network, "patch_agop", swapped)
    found = verdict_of(tmp_path, "A6", "theorem1", check_of_theorem())
    assert found.verdict is Verdict.NOT_REPRODUCED, found.reason


# The ansatz in a network that is trained on the spot.


@pytest.fixture(scope="module")
def networks():
    """A small network on digits at initialisation and trained, its first weights, and images."""
    digits = load_digits()
    images, labels = (digits.images[:300, None] / 16).astype(np.float32), digits.target[:300]

    def fresh():
        return ShallowCNN("MyrtleMax", (1, 8, 8), 10, width=16, generator=torch.Generator().manual_seed(0)).eval()

    start, trained = fresh(), fresh()
    settings = TrainingSettings(epochs=15, batch_size=32, learning_rate=3e-3, loss="cross-entropy", shuffle=True)
    train(trained, TrainingData(images, labels, {}), settings, seed=0)
    return start, trained, torch.from_numpy(images[:40])


def measured_ansatz(networks):
    """The table of Figure 1, as if the network were one of the paper's."""
    start, trained, images = networks
    before, after = (measure(model, images) for model in (start, trained))
    filters = {name: value.numpy() for name, value in start.state_dict().items()}
    given = SimpleNamespace(seed=0, mode="exact")
    parts = [
        _numbers(after, given, initial=filters).assign(when="trained"),
        _numbers(before, given, initial=None).assign(when="initial"),
        _means([("trained", 9.0, after), ("initial", 0.0, before)], "vgg11-v1"),
    ]
    return fig01.tidy(
        [("vgg11-v1", "published", pd.concat(parts, ignore_index=True).assign(in_paper=True, images=len(images)))]
    )


def test_the_ansatz_holds_in_the_network_as_it_is(tmp_path, networks):
    found = verdict_of(tmp_path, "A1", "fig01", measured_ansatz(networks))
    assert found.verdict is Verdict.REPRODUCED, found.reason


def test_a_chain_rule_without_delta_turns_a1(tmp_path, networks, monkeypatch):
    """G = W^T W: a perfect correlation, which any threshold would let pass, and no gain by training."""

    def without_delta(self, block, gradients):
        identity = len(gradients) * torch.eye(self.sums.shape[-1])[None]
        self.recent[block] = self.recent.get(block, 0) + identity

    monkeypatch.setattr(LayerSums, "add", without_delta)
    found = verdict_of(tmp_path, "A1", "fig01", measured_ansatz(networks))
    assert found.verdict is Verdict.NOT_REPRODUCED, found.reason
    (level,) = [each for each in found.measurements if each.soft]
    assert level.value == pytest.approx(1)
    assert level.holds


def test_a_swapped_patch_order_turns_a1(tmp_path, networks, monkeypatch):
    """The AGOP's patches in another order than the filters'."""

    def swapped(self, entries="pearson"):
        form = FilterForm(self.weight[:, :, other_order(self.weight.shape[2])])
        forms = [form.with_core(core) for core in self.sums]
        return BlockCorrelation(self.cnfm, forms, self.counts, entries, noisy=self.noisy)

    monkeypatch.setattr(LayerAgop, "by_blocks", swapped)
    found = verdict_of(tmp_path, "A1", "fig01", measured_ansatz(networks))
    assert found.verdict is not Verdict.REPRODUCED, found.reason
    (over_null,) = [each for each in found.measurements if "rotated null" in each.what]
    assert over_null.holds is False
