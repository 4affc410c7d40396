"""audit.json against its schema, and the schema against what is wrong."""

import json
from datetime import UTC, datetime

import pytest
from jsonschema import Draft202012Validator, ValidationError

from audit import outcomes
from convrfm.replication.audit.outcome import as_document, document_schema
from convrfm.replication.claims.verdicts import Verdict
from convrfm.system.storage import write_json

MADE = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
VALIDATOR = Draft202012Validator(document_schema())


@pytest.fixture
def document(tmp_path):
    """As it comes back from disk."""
    write_json(tmp_path / "audit.json", as_document(outcomes.every_kind(), MADE))
    return json.loads((tmp_path / "audit.json").read_text())


def test_it_follows_its_schema_and_holds_what_the_audit_holds(document):
    Draft202012Validator.check_schema(document_schema())
    VALIDATOR.validate(document)
    assert set(document_schema()["$defs"]["Verdict"]["enum"]) == set(Verdict)
    assert (document["made"], document["trusted"]) == ("2026-11-21T20:30:00Z", False)
    found = outcomes.every_kind()
    for part, key in (("judgements", "verdict"), ("findings", "file"), ("replays", "name"), ("deviations", "found")):
        assert [each[key] for each in document[part]] == [getattr(each, key) for each in getattr(found, part)]
    assert document["judgements"][0]["measurements"][0]["interval"] == [4.1, 7.5]
    odd = document["judgements"][-2]["measurements"][2]
    assert (odd["value"], odd["interval"]) == ("NaN", ["-Infinity", "Infinity"])
    assert document["checked"] == found.checked
    assert len(document["coverage"]) == len(found.judgements)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["judgements", 0, "verdict"], "REPRODUCED!"), (["judgements", 0, "measurements", 0, "value"], "much"),
        (["judgements", 0, "measurements", 0, "interval"], [1.0]), (["judgements", 0, "surprise"], 1),
        (["findings", 0, "state"], "fine"), (["trusted"], "yes"), (["format"], 99), (["root"], None),
        (["replays", 0, "result"], "fine"), (["coverage", 0, "caught_one"], None), (["deviations", 0, "what"], 1),
    ],
)  # fmt: skip
def test_the_schema_refuses(document, path, value):
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValidationError):
        VALIDATOR.validate(document)
