"""What jobs ask a scheduler for, from the presets."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from convrfm.errors import ConfigError
from convrfm.replication.config.costs import SNAKEMAKE, Cost, Costs
from convrfm.replication.plan.presets import load_settings

PRESETS = Path(__file__).parents[2] / "workflow/presets"
CONFIG = {"preset": "quick", "protocol": "published", "seeds": [0]}


def test_a_key_that_is_left_out_is_the_rules_own():
    costs = Costs.model_validate({"fit_rfm": {"minutes": 7}})
    assert costs.fit_rfm == Cost(minutes=7, memory_mb=Costs().fit_rfm.memory_mb, gpu="backend")
    assert costs.train_cnn == Costs().train_cnn
    assert Costs.model_validate({"fit_rfm": {"minutes": None}}) == Costs()


def test_a_rate_that_is_left_out_is_as_here():
    costs = Costs.model_validate({"cpu": {"maps": 0.5}})
    assert costs.cpu == Costs().cpu.model_copy(update={"maps": 0.5})
    assert costs.gpu == Costs().gpu


def test_every_rule_has_numbers_of_its_own():
    for name in Costs.rules():
        cost = Costs().cost(name)
        assert cost.minutes is None or cost.minutes > 0
        assert cost.memory_mb > 0


@pytest.mark.parametrize(
    ("wildcards", "expected"),
    [
        ({"task": "bars", "sigma": "1"}, (10, 100)),
        ({"task": "noisy-mnist"}, (60, 100)),
        ({"dataset": "svhn", "classes": "all"}, (10, 500)),
        ({"dataset": "dtd", "classes": "3-8"}, (1, 100)),
        ({"network": "resnet152-v1"}, (90, 900)),
        ({"protocol": "noisy-mnist"}, (10, 100)),
    ],
)
def test_the_case_decides(wildcards, expected):
    cases = [
        {"of": "noisy-mnist", "minutes": 60},
        {"of": "svhn", "memory_mb": 500},
        {"of": "pairs", "minutes": 1},
        {"of": "resnet152-v1", "minutes": 90, "memory_mb": 900},
    ]
    costs = Costs.model_validate({"fit_images": {"minutes": 10, "memory_mb": 100, "cases": cases}})
    demand = costs.demand("fit_images", wildcards)
    # Whatever runs a job counts, too.
    assert (demand.minutes, demand.memory_mb) == (expected[0], expected[1] + SNAKEMAKE)


def test_rules_that_draw_figures_share_their_cost():
    costs = Costs.model_validate({"figures": {"minutes": 9}, "draw": {"minutes": 1}})
    assert costs.cost("draw_fig05").minutes == costs.cost("draw_theorem1").minutes == 9
    assert costs.cost("draw").minutes == 1
    with pytest.raises(ValueError, match="fit_nothing has no cost"):
        costs.cost("fit_nothing")


def test_limits_leave_room():
    costs = Costs()
    assert costs.limit(0.1, 1) == 10
    assert costs.limit(5, 1) == 15
    assert costs.limit(33.4, 2) == 2 * 101
    assert costs.limit(5000, 1) == costs.limit(1, 1000) == 2880
    assert Costs(most_minutes=60).limit(5000, 1) == 60


@pytest.mark.parametrize(
    ("costs", "sentence"),
    [
        ({"fit_rmf": {"minutes": 1}}, "unknown key 'overrides.costs.fit_rmf'; did you mean 'fit_rfm'?"),
        ({"fit_rmf": {"minutes": 1}}, "did you mean 'fit_rfm'?"),
        ({"fit_rfm": {"minute": 1}}, "did you mean 'minutes'?"),
        ({"fit_rfm": {"minutes": 0}}, "overrides.costs.fit_rfm.minutes: must be > 0, not 0"),
        ({"fit_rfm": {"gpu": "always"}}, "'never', 'device' or 'backend'"),
        ({"fit_rfm": {"cases": [{"for": "bars"}]}}, "missing key 'overrides.costs.fit_rfm.cases.0.of'"),
        ({"fit_rfm": 7}, "costs.fit_rfm: must"),
        ({"most_minutes": {"minutes": 1}}, "costs.most_minutes: must be an integer"),
        (7, "costs: must"),
    ],
)
def test_what_is_wrong_is_said(costs, sentence):
    with pytest.raises(ConfigError) as caught:
        load_settings({**CONFIG, "overrides": {"costs": costs}}, PRESETS)
    assert sentence in str(caught.value)


def test_costs_cannot_be_changed_afterwards():
    with pytest.raises(ValidationError):
        Costs().fit_rfm.minutes = 1


def test_every_rule_asks_for_what_it_costs():
    text = "\n".join(path.read_text() for path in sorted(PRESETS.parent.glob("rules/*.smk")))
    rules = dict(
        re.findall(r"^(?:use rule \w+ as |rule )(\w+)(?: with)?:\n((?:    .*\n|\n)*)", text, flags=re.MULTILINE)
    )
    local = {"audit", "cost", "datasets"}
    asked = {name: re.search(r'\*\*needs\("(\w+)"', body) for name, body in rules.items() if name not in local}
    assert len(asked) > 20
    assert {name: found and found[1] for name, found in asked.items()} == {name: name for name in asked}
    for name in asked:
        Costs().cost(name)
    # And every cost is that of a rule.
    assert set(Costs.rules()) - set(asked) == {"figures"}


def test_a_step_is_a_case_of_its_fit():
    costs = Costs.model_validate({"fill_gram": {"minutes": 10, "cases": [{"of": "noisy-mnist", "minutes": 60}]}})
    for task, minutes in (("bars", 10), ("noisy-mnist", 60)):
        wildcards = {"experiment": "rfm", "run": f"task={task}/sigma=1/seed=0", "stage": "0", "round": "1"}
        assert costs.demand("fill_gram", wildcards).minutes == minutes
