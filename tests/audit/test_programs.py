"""What programs read: audit.json by its schema, the RO-Crate by its validator, offline, codecheck.yml by its specification."""

import json

import pytest
import requests
import yaml
from jsonschema import Draft202012Validator, ValidationError
from rocrate import vocabs
from rocrate_validator import services
from rocrate_validator.utils.http import HttpRequester

from audit.outcomes import MADE, audit, every_kind
from audit.tiny import FIGURES, RECORD, RESULTS, RUN, edit_record
from convrfm.replication.audit.crate import CRATE_FILE, codecheck_of, crate_of
from convrfm.replication.audit.outcome import as_document, document_schema
from convrfm.replication.audit.records import find_products
from convrfm.replication.claims.verdicts import Verdict
from convrfm.replication.record.record import read_record
from convrfm.system.storage import write_bytes, write_json

# The validator's own dependencies use what others of them have renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")

VALIDATOR = Draft202012Validator(document_schema())
CITATION = "license: MIT\nauthors:\n  - name: The developers\n  - family-names: Doe\n    given-names: Jo\n"


@pytest.fixture
def document():
    """As it comes back from a file."""
    return json.loads(json.dumps(as_document(every_kind(), MADE), allow_nan=False))


def test_the_document_follows_its_schema_and_holds_what_the_audit_holds(document):
    Draft202012Validator.check_schema(document_schema())
    VALIDATOR.validate(document)
    assert set(document_schema()["$defs"]["Verdict"]["enum"]) == set(Verdict)
    assert (document["made"], document["trusted"]) == ("2026-11-21T20:30:00Z", False)
    found = every_kind()
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


@pytest.fixture
def project(project):
    """With authors and a licence, the files of an audit, and a run of a known time and commit."""
    (project / "CITATION.cff").write_text(CITATION)
    for name in ("index.html", "audit.json"):
        write_bytes(project / RESULTS / "audit" / name, b"{}")
    code = {"closure": "d" * 64, "commit": "e" * 40, "dirty": False}
    edit_record(project / RUN, code=code, packages={"convrfm": "0.1.0"}, started="2026-11-21T19:09:55Z", wall_seconds=7.9)
    return project


def made(project):
    """The crate as it comes back from disk, by id."""
    write_json(project / RESULTS / CRATE_FILE, crate_of(project, audit(), find_products(project, RESULTS), MADE))
    graph = json.loads((project / RESULTS / CRATE_FILE).read_text())["@graph"]
    entities = {entity["@id"]: entity for entity in graph}
    assert len(entities) == len(graph)
    return entities


def test_runs_are_actions_with_tools_inputs_and_outputs_and_the_root_names_the_rest(project):
    record, entities = read_record(project / RECORD), made(project)
    action = entities[RUN.replace(f"{RESULTS}/runs", "#run")]
    assert action["@type"] == "CreateAction"
    assert (action["startTime"], action["endTime"]) == ("2026-11-21T19:09:55+00:00", "2026-11-21T19:10:02+00:00")
    tool = entities[action["instrument"]["@id"]]
    assert tool["@type"] == "SoftwareApplication"
    assert tool["name"] == "convrfm.replication.jobs.fits:fit_task"
    assert tool["softwareVersion"] == "convrfm 0.1.0 (eeeeeeeeeeee)"
    results = [entities[each["@id"]] for each in action["result"]]
    written = {each["path"].removeprefix(f"{RESULTS}/"): each["sha256"] for each in record["outputs"].values()}
    assert {each["name"]: each.get("sha256") for each in results} == {**written, RECORD.removeprefix(f"{RESULTS}/"): None}
    assert [entities[each["@id"]]["name"] for each in action["agent"]] == ["The developers", "Jo Doe"]
    assert json.loads(entities[action["object"][-1]["@id"]]["value"]) == record["settings"]
    # What one run wrote is what the next one took.
    taken, written = entities["#run/published/fig05"]["object"], action["result"]
    assert {each["@id"] for each in taken} & {each["@id"] for each in written}
    root = entities["./"]
    assert entities[root["license"]["@id"]]["name"] == "MIT"
    assert root["conformsTo"]["@id"].startswith("https://w3id.org/ro/wfrun/process/")
    assert root["citation"]["@id"] == "https://arxiv.org/abs/2309.00570"
    assert {each["@id"] for each in root["mentions"]} == {key for key in entities if key.startswith("#run/")}
    assert {"audit/index.html", "audit/audit.json"} <= {each["@id"] for each in root["hasPart"]}
    (project / "CITATION.cff").unlink()
    assert "author" not in made(project)["./"]


@pytest.mark.parametrize("escape", ["/etc/hostname", f"{RESULTS}/../../CITATION.cff", "a b<>\n"])
def test_only_files_that_are_there_are_parts_and_none_outside(project, escape):
    """A record of which a file is missing is read all the same."""
    (project / RUN / "arrays.safetensors").unlink()
    outputs = read_record(project / RECORD)["outputs"]
    outputs["metrics"]["path"] = escape
    edit_record(project / RUN, outputs=outputs)
    entities = made(project)
    assert entities[f"#elsewhere/{RUN}/arrays.safetensors"]["@type"] == "CreativeWork"
    parts = [key for key in entities if not key.startswith("#")]
    assert not [key for key in parts if key.endswith(("sigma=2,seed=0/arrays.safetensors", "hostname", "CITATION.cff"))]
    assert not [key for key in entities if any(letter in key for letter in " <>\n")]


def test_a_codecheck_has_what_its_specification_asks_of_authors(project):
    """The rules CC-CFG-001 to 028 of https://codecheck.org.uk/spec/config/1.0/, but for those about the codechecker."""
    products = find_products(project, RESULTS)
    text = codecheck_of(project, every_kind(), products, MADE)
    assert text.startswith("---\n")
    content = yaml.safe_load(text)
    assert content.keys() == {"version", "paper", "manifest", "summary", "check_time"}
    assert content["version"] == "https://codecheck.org.uk/spec/config/1.0/"
    assert content["paper"].keys() == {"title", "authors", "reference"}
    assert all(author["name"] for author in content["paper"]["authors"])
    assert content["paper"]["reference"].startswith("https://doi.org/")
    assert all(entry.keys() == {"file", "comment"} for entry in content["manifest"])
    drawn = {path.as_posix() for form in ("png", "csv") for path in (project / FIGURES).glob(f"*.{form}")}
    assert {(project / RESULTS / entry["file"]).as_posix() for entry in content["manifest"]} == drawn
    assert "A10 REPRODUCED" in codecheck_of(project, audit(), products, MADE)
    assert content["summary"].startswith("Not trusted")
    assert content["check_time"] == "2026-11-21T20:30:00"


def test_the_validator_finds_nothing_and_sees_what_is_missing(project, monkeypatch, tmp_path):
    asked = []

    def get(_, url, **options):
        """The one document that it fetches, from a package instead; that of 1.3 has all terms of 1.1."""
        asked.append(url)
        response = requests.Response()
        response.status_code, response.headers["Content-Type"] = 200, "application/ld+json"
        response._content = json.dumps(vocabs.RO_CRATE).encode()
        return response

    monkeypatch.setattr(HttpRequester, "get", get, raising=False)

    def issues(severity):
        """What the validator of RO-Crates finds wrong at some severity, offline."""
        settings = {"profile_identifier": "process-run-crate", "requirement_severity": severity, "offline": True}
        result = services.validate({"rocrate_uri": str(project / RESULTS), "cache_path": tmp_path / severity, **settings})
        assert set(asked) == {"https://w3id.org/ro/crate/1.1/context"}
        assert result.passed() == (not result.get_issues())
        return {issue.message for issue in result.get_issues()}

    made(project)
    # What it cannot have: public addresses of the project and its tools, and who stands behind its authors.
    assert issues("RECOMMENDED") <= {
        "The Application SHOULD have a url",
        "The SoftwareApplication id SHOULD be an absolute URI",
        "The author SHOULD have an organizational affiliation.",
        "The author SHOULD have a Contextual Entity which specifies the organizational `affiliation`.",
        "The organization SHOULD have a URL.",
        "The `publisher` property of a `Root Data Entity` SHOULD be an `Organization`",
    }
    metadata = json.loads((project / RESULTS / CRATE_FILE).read_text())
    for entity in metadata["@graph"]:
        entity.pop({"CreateAction": "instrument", "Dataset": "conformsTo"}.get(entity["@type"]), None)
    write_json(project / RESULTS / CRATE_FILE, metadata)
    found = " ".join(issues("REQUIRED"))
    assert "The Action MUST have an instrument" in found
    assert "The Root Data Entity MUST reference a CreativeWork" in found
