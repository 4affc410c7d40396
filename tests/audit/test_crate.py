"""The RO-Crate, checked by the validator of the profile, offline; and codecheck.yml by its specification."""

import json
from datetime import UTC, datetime

import pytest
import requests
import yaml
from rocrate import vocabs
from rocrate_validator import services
from rocrate_validator.utils.http import HttpRequester

from audit import outcomes
from audit.outcomes import RECORD, RESULTS, RUN
from convrfm.replication.audit.crate import CRATE_FILE, codecheck_of, crate_of
from convrfm.replication.audit.records import find_products
from convrfm.system.storage import write_json

# The validator's own dependencies use what others of them have renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")

MADE = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
CITATION = "license: MIT\nauthors:\n  - name: The developers\n  - family-names: Doe\n    given-names: Jo\n"
FIT = "#run/rfm/published/task=bars,sigma=1,seed=0"


@pytest.fixture
def project(laid_out):
    (laid_out / "CITATION.cff").write_text(CITATION)
    (laid_out / RESULTS / "audit").mkdir()
    for name in ("index.html", "audit.json"):
        (laid_out / RESULTS / "audit" / name).write_text("{}")
    return laid_out


def made(project):
    """The crate as it comes back from disk, by id."""
    write_json(project / RESULTS / CRATE_FILE, crate_of(project, outcomes.audit(), find_products(project, RESULTS), MADE))
    graph = json.loads((project / RESULTS / CRATE_FILE).read_text())["@graph"]
    entities = {entity["@id"]: entity for entity in graph}
    assert len(entities) == len(graph)
    return entities


def test_a_run_is_an_action_with_tool_inputs_and_outputs(project):
    entities = made(project)
    action = entities[FIT]
    assert action["@type"] == "CreateAction"
    assert (action["startTime"], action["endTime"]) == ("2026-11-21T19:09:55+00:00", "2026-11-21T19:10:02+00:00")
    tool = entities[action["instrument"]["@id"]]
    assert tool["@type"] == "SoftwareApplication"
    assert tool["name"] == "convrfm.replication.jobs.fits:fit_task"
    assert tool["softwareVersion"] == "convrfm 0.1.0 (eeeeeeeeeeee)"
    results = [entities[each["@id"]] for each in action["result"]]
    names = ["metrics.parquet", "arrays.safetensors", "record.json"]
    assert sorted(each["name"].rpartition("/")[2] for each in results) == sorted(names)
    assert {each.get("sha256") for each in results} == {"b" * 64, None}
    assert [entities[each["@id"]]["name"] for each in action["agent"]] == ["The developers", "Jo Doe"]
    settings = [entities[each["@id"]] for each in action["object"]][-1]
    assert json.loads(settings["value"]) == {"sigma": 1.0, "task": "bars"}
    # What one run wrote is what the next one took.
    taken, written = entities["#run/published/fig05"]["object"], action["result"]
    assert {each["@id"] for each in taken} & {each["@id"] for each in written}


def test_the_root_names_authors_licence_paper_and_profile(project):
    entities = made(project)
    root = entities["./"]
    assert entities[root["license"]["@id"]]["name"] == "MIT"
    assert root["citation"]["@id"] == "https://arxiv.org/abs/2309.00570"
    assert root["conformsTo"]["@id"].startswith("https://w3id.org/ro/wfrun/process/")
    assert {each["@id"] for each in root["mentions"]} == {key for key in entities if key.startswith("#run/")}
    assert {"audit/index.html", "audit/audit.json"} <= {each["@id"] for each in root["hasPart"]}
    (project / "CITATION.cff").unlink()
    assert "author" not in made(project)["./"]


def test_only_files_that_are_there_are_parts_and_none_outside(project):
    (project / RUN / "arrays.safetensors").unlink()
    entities = made(project)
    # A record of which a file is missing is read all the same.
    assert not [key for key in entities if key.startswith("runs/") and key.endswith("arrays.safetensors")]
    assert entities["#elsewhere/data/mnist/state.json"]["@type"] == "CreativeWork"
    record = json.loads((project / RECORD).read_text())
    for escape in ("/etc/hostname", f"{RESULTS}/../../CITATION.cff", "a b<>\n"):
        record["outputs"]["metrics"]["path"] = escape
        (project / RECORD).write_text(json.dumps(record))
        entities = made(project)
        assert not [key for key in entities if "host" in key and not key.startswith("#")]
        assert not [key for key in entities if any(letter in key for letter in " <>\n")]


def test_a_codecheck_has_what_its_specification_asks_of_authors(project):
    """The rules CC-CFG-001 to 028 of https://codecheck.org.uk/spec/config/1.0/, but for those about the codechecker."""
    products = find_products(project, RESULTS)
    text = codecheck_of(project, outcomes.every_kind(), products, MADE)
    assert text.startswith("---\n")
    content = yaml.safe_load(text)
    assert content.keys() == {"version", "paper", "manifest", "summary", "check_time"}
    assert content["version"] == "https://codecheck.org.uk/spec/config/1.0/"
    assert content["paper"].keys() == {"title", "authors", "reference"}
    assert all(author["name"] for author in content["paper"]["authors"])
    assert content["paper"]["reference"].startswith("https://doi.org/")
    assert [entry.keys() for entry in content["manifest"]] == [{"file", "comment"}] * 2
    assert all((project / RESULTS / entry["file"]).is_file() for entry in content["manifest"])
    assert "A10 REPRODUCED" in codecheck_of(project, outcomes.audit(), products, MADE)
    assert content["summary"].startswith("Not trusted")
    assert datetime.fromisoformat(content["check_time"]) == MADE.replace(tzinfo=None)


@pytest.fixture
def issues(project, monkeypatch, tmp_path_factory):
    """What the validator of RO-Crates finds wrong at some severity, offline."""
    asked = []

    def get(_, url, **options):
        """The one document that it fetches, from a package instead; that of 1.3 has all terms of 1.1."""
        asked.append(url)
        response = requests.Response()
        response.status_code, response.headers["Content-Type"] = 200, "application/ld+json"
        response._content = json.dumps(vocabs.RO_CRATE).encode()
        return response

    monkeypatch.setattr(HttpRequester, "get", get, raising=False)

    def find(severity):
        cache = tmp_path_factory.mktemp("cache") / "http"
        settings = {"profile_identifier": "process-run-crate", "requirement_severity": severity, "offline": True}
        result = services.validate({"rocrate_uri": str(project / RESULTS), "cache_path": cache, **settings})
        assert set(asked) == {"https://w3id.org/ro/crate/1.1/context"}
        assert result.passed() == (not result.get_issues())
        return {issue.message for issue in result.get_issues()}

    return find


def test_the_validator_finds_nothing_and_sees_what_is_missing(project, issues):
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
