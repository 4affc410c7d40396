"""The RO-Crate, checked by the validator of the profile, offline."""

import json
from datetime import UTC, datetime

import pytest
import requests
import yaml
from rocrate import vocabs
from rocrate_validator import services
from rocrate_validator.utils.http import HttpRequester

from audit import outcomes
from convrfm.replication.audit.crate import CRATE_FILE, codecheck_of, crate_of
from convrfm.system.storage import write_json

# The validator's own dependencies use what others of them have renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")

MADE = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
CITATION = "license: MIT\nauthors:\n  - name: The developers\n  - family-names: Doe\n    given-names: Jo\n"


@pytest.fixture
def project(tmp_path):
    outcomes.lay_out(tmp_path)
    (tmp_path / "CITATION.cff").write_text(CITATION)
    folder = tmp_path / outcomes.RESULTS / "audit"
    folder.mkdir()
    (folder / "index.html").write_text("page")
    (folder / "audit.json").write_text("{}")
    return tmp_path


@pytest.fixture
def metadata(project):
    content = crate_of(project, outcomes.audit(), MADE)
    write_json(project / outcomes.RESULTS / CRATE_FILE, content)
    return json.loads((project / outcomes.RESULTS / CRATE_FILE).read_text())


def by_id(metadata):
    entities = {entity["@id"]: entity for entity in metadata["@graph"]}
    assert len(entities) == len(metadata["@graph"])
    return entities


def test_a_run_is_an_action_with_tool_inputs_and_outputs(metadata):
    entities = by_id(metadata)
    action = entities["#run/rfm/published/task=bars,sigma=1,seed=0"]
    assert action["@type"] == "CreateAction"
    assert (action["startTime"], action["endTime"]) == ("2026-11-21T19:09:55+00:00", "2026-11-21T19:10:02+00:00")
    tool = entities[action["instrument"]["@id"]]
    assert tool["@type"] == "SoftwareApplication"
    assert tool["name"] == "convrfm.replication.jobs.fits:fit_task"
    assert tool["softwareVersion"] == "convrfm 0.1.0 (eeeeeeeeeeee)"
    results = [entities[each["@id"]] for each in action["result"]]
    assert {each["name"].rpartition("/")[2] for each in results} == {
        "metrics.parquet",
        "arrays.safetensors",
        "record.json",
    }
    assert {each.get("sha256") for each in results} == {"b" * 64, "c" * 64, None}
    assert [entities[each["@id"]]["name"] for each in action["agent"]] == ["The developers", "Jo Doe"]
    settings = [entities[each["@id"]] for each in action["object"]][-1]
    assert json.loads(settings["value"]) == {"sigma": 1.0, "task": "bars"}


def test_what_one_run_wrote_is_what_the_next_one_took(metadata):
    entities = by_id(metadata)
    drawing = entities["#run/published/fig05"]
    taken = {each["@id"] for each in drawing["object"]}
    written = {each["@id"] for each in entities["#run/rfm/published/task=bars,sigma=1,seed=0"]["result"]}
    assert taken & written


def test_the_root_names_authors_licence_paper_and_profile(metadata):
    entities = by_id(metadata)
    root = entities["./"]
    assert entities[root["license"]["@id"]]["name"] == "MIT"
    assert root["citation"]["@id"] == "https://arxiv.org/abs/2309.00570"
    assert root["conformsTo"]["@id"].startswith("https://w3id.org/ro/wfrun/process/")
    assert {each["@id"] for each in root["mentions"]} == {key for key in entities if key.startswith("#run/")}
    assert {"audit/index.html", "audit/audit.json"} <= {each["@id"] for each in root["hasPart"]}


def test_only_files_that_are_there_are_parts(project):
    (project / outcomes.RUN / "arrays.safetensors").unlink()
    metadata = crate_of(project, outcomes.audit(), MADE)
    entities = by_id(metadata)
    assert not [key for key in entities if key.startswith("runs/") and key.endswith("arrays.safetensors")]
    assert entities["#elsewhere/data/mnist/state.json"]["@type"] == "CreativeWork"


def test_a_record_cannot_reach_out_of_the_crate(project):
    path = project / outcomes.RUN / "record.json"
    record = json.loads(path.read_text())
    for escape in ("/etc/hostname", f"{outcomes.RESULTS}/../../CITATION.cff", "a b<>\n"):
        record["outputs"]["metrics"]["path"] = escape
        path.write_text(json.dumps(record))
        entities = by_id(crate_of(project, outcomes.audit(), MADE))
        assert not [key for key in entities if "host" in key and not key.startswith("#")]
        assert not [key for key in entities if any(letter in key for letter in " <>\n")]


def test_without_a_citation_file(project):
    (project / "CITATION.cff").unlink()
    entities = by_id(crate_of(project, outcomes.audit(), MADE))
    assert "author" not in entities["./"]


def test_a_codecheck_has_what_its_specification_asks_of_authors(project):
    """The rules CC-CFG-001 to 028 of https://codecheck.org.uk/spec/config/1.0/, but for those about the codechecker."""
    text = codecheck_of(project, outcomes.every_kind(), MADE)
    assert text.startswith("---\n")
    content = yaml.safe_load(text)
    assert content.keys() == {"version", "paper", "manifest", "summary", "check_time"}
    assert content["version"] == "https://codecheck.org.uk/spec/config/1.0/"
    assert content["paper"].keys() == {"title", "authors", "reference"}
    assert all(author["name"] for author in content["paper"]["authors"])
    assert content["paper"]["reference"].startswith("https://doi.org/")
    assert content["manifest"]
    for entry in content["manifest"]:
        assert entry.keys() == {"file", "comment"}
        assert (project / outcomes.RESULTS / entry["file"]).is_file()
    assert "A10 REPRODUCED" in codecheck_of(project, outcomes.audit(), MADE)
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
        result = services.validate(
            {
                "rocrate_uri": str(project / outcomes.RESULTS),
                "profile_identifier": "process-run-crate",
                "requirement_severity": severity,
                "offline": True,
                "cache_path": tmp_path_factory.mktemp("cache") / "http",
            }
        )
        assert set(asked) == {"https://w3id.org/ro/crate/1.1/context"}
        assert result.passed() == (not result.get_issues())
        return {issue.message for issue in result.get_issues()}

    return find


def test_it_has_what_the_profile_asks_for(metadata, issues):
    # What it cannot have: public addresses of the project and its tools, and who stands behind its authors.
    assert issues("RECOMMENDED") <= {
        "The Application SHOULD have a url",
        "The SoftwareApplication id SHOULD be an absolute URI",
        "The author SHOULD have an organizational affiliation.",
        "The author SHOULD have a Contextual Entity which specifies the organizational `affiliation`.",
        "The organization SHOULD have a URL.",
        "The `publisher` property of a `Root Data Entity` SHOULD be an `Organization`",
    }


def test_the_validator_sees_what_is_missing(project, metadata, issues):
    missing = {"CreateAction": "instrument", "Dataset": "conformsTo"}
    for entity in metadata["@graph"]:
        entity.pop(missing.get(entity["@type"]), None)
    write_json(project / outcomes.RESULTS / CRATE_FILE, metadata)
    found = " ".join(issues("REQUIRED"))
    assert "The Action MUST have an instrument" in found
    assert "The Root Data Entity MUST reference a CreativeWork" in found
