"""audit.json against its schema, and the schema against what is wrong."""

import copy
import json
import math
from datetime import UTC, datetime

import pytest
from jsonschema import Draft202012Validator, ValidationError

from audit import outcomes
from convrfm.replication.audit.outcome import Replay, Result, as_document, document_schema
from convrfm.replication.claims.verdicts import Verdict
from convrfm.system.storage import write_json

MADE = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
VALIDATOR = Draft202012Validator(document_schema())


@pytest.fixture
def document(tmp_path):
    """As it comes back from disk."""
    write_json(tmp_path / "audit.json", as_document(outcomes.every_kind(), MADE))
    return json.loads((tmp_path / "audit.json").read_text())


def test_it_follows_its_schema(document):
    Draft202012Validator.check_schema(document_schema())
    VALIDATOR.validate(document)
    assert document["made"] == "2026-11-21T20:30:00Z"
    assert document["trusted"] is False


def test_it_holds_what_the_audit_holds(document):
    found = outcomes.every_kind()
    assert [each["verdict"] for each in document["judgements"]] == [each.verdict for each in found.judgements]
    assert [each["file"] for each in document["findings"]] == [each.file for each in found.findings]
    assert document["judgements"][0]["measurements"][0]["interval"] == [4.1, 7.5]
    assert document["checked"] == found.checked
    assert [each["name"] for each in document["replays"]] == [each.name for each in found.replays]
    assert [each["found"] for each in document["deviations"]] == [each.found for each in found.deviations]
    assert len(document["coverage"]) == len(found.judgements)


def test_numbers_that_json_does_not_have():
    replays = [Replay("run", Result.EQUAL, "", value) for value in (math.nan, math.inf, -math.inf)]
    document = as_document(outcomes.audit(replays=tuple(replays)), MADE)
    assert [each["seconds"] for each in document["replays"]] == ["NaN", "Infinity", "-Infinity"]
    VALIDATOR.validate(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["judgements", 0, "verdict"], "REPRODUCED!"),
        (["judgements", 0, "measurements", 0, "value"], "much"),
        (["judgements", 0, "measurements", 0, "interval"], [1.0]),
        (["judgements", 0, "surprise"], 1),
        (["findings", 0, "state"], "fine"),
        (["trusted"], "yes"),
        (["format"], 99),
        (["root"], None),
        (["replays", 0, "result"], "fine"),
        (["coverage", 0, "caught_one"], None),
        (["deviations", 0, "what"], 1),
    ],
)
def test_the_schema_refuses(document, path, value):
    broken = copy.deepcopy(document)
    place = broken
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValidationError):
        VALIDATOR.validate(broken)


def test_every_verdict_is_in_the_schema():
    assert set(document_schema()["$defs"]["Verdict"]["enum"]) == set(Verdict)
