"""The results for the tools of others: an RO-Crate with every run as an action, and what a CODECHECK begins with.

The crate follows RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) and the profile Process Run Crate 0.5 (https://w3id.org/ro/wfrun),
since each job of the workflow is the run of one tool. The root of the crate is the folder of the results.
"""

import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import yaml
from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

from convrfm.replication.audit.outcome import Audit, as_text, headline
from convrfm.replication.audit.records import Product, Record, strange_file

__all__ = ["CODECHECK_FILE", "CRATE_FILE", "codecheck_of", "crate_of"]

CODECHECK_FILE = "codecheck.yml"
CRATE_FILE = "ro-crate-metadata.json"
"""Both names and places, the root of what is checked and of the crate, are prescribed."""

CODECHECK = "https://codecheck.org.uk/spec/config/1.0/"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
TITLE = "Mechanism of feature learning in convolutional neural networks"
AUTHORS = ("Daniel Beaglehole", "Adityanarayanan Radhakrishnan", "Parthe Pandit", "Mikhail Belkin")
PAPER = "https://arxiv.org/abs/2309.00570"
DOI = "https://doi.org/10.48550/arXiv.2309.00570"

TERMS = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}
"""What RO-Crate 1.1 does not know; given here, and no further context has to be fetched."""

FORMATS = {
    ".csv": "text/csv", ".html": "text/html", ".json": "application/json", ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet", ".pdf": "application/pdf", ".png": "image/png",
    ".safetensors": "application/octet-stream",
}  # fmt: skip


def codecheck_of(project: Path, audit: Audit, products: Iterable[Product], made: datetime) -> str:
    """Give the content of `codecheck.yml`, as far as the audit can know it: what is to be compared, and of which paper."""
    judged: dict[tuple[str | None, str | None], list[str]] = {}
    for judgement in audit.judgements:
        judged.setdefault((judgement.figure, judgement.protocol), []).append(f"{judgement.claim} {judgement.verdict}")
    manifest = []
    for product in products:
        for form in ("png", "csv") if product.is_figure else ():
            if (project / product.files[form]).is_file():
                claims = ", ".join(judged.get((product.kind, product.keys["protocol"]), ["no claim"]))
                file = str(PurePosixPath(product.files[form]).relative_to(audit.results))
                manifest.append({"file": as_text(file), "comment": as_text(f"{product.title}: {claims}")})
    content = {
        "version": CODECHECK,
        "paper": {"title": TITLE, "authors": [{"name": name} for name in AUTHORS], "reference": DOI},
        "manifest": manifest,
        "summary": f"{headline(audit)}, says the audit of convrfm on preset {audit.preset}: see audit/index.html.",
        "check_time": f"{made:%Y-%m-%dT%H:%M:%S}",
    }
    # The marker has to come first.
    head = "---\n# codechecker, certificate and report are for the person who checks to add.\n"
    return head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def crate_of(project: Path, audit: Audit, products: Iterable[Product], made: datetime) -> dict[str, Any]:
    """Give the metadata of the crate, JSON-LD.

    Files are described as the records have them, hashes included; whether that is true is what the audit itself says. A
    file that does not exist is only named.
    """
    crate = _Crate(project, audit.results)
    root = crate.crate.root_dataset
    root["name"] = f"Replication of arXiv 2309.00570, preset {audit.preset}"
    root["description"] = (
        f"Figures of a replication of {TITLE!r}, with every run that they rest on. "
        f"The audit of {made:%Y-%m-%d} says of them: {headline(audit)}. See audit/index.html."
    )
    crate.crate.datePublished = made
    root["conformsTo"] = crate.entity(PROFILE, "CreativeWork", name="Process Run Crate", version="0.5")
    root["citation"] = crate.entity(PAPER, "ScholarlyArticle", name=TITLE)
    crate.file(f"{audit.results}/audit/index.html", name="The audit, as a page")
    crate.file(f"{audit.results}/audit/audit.json", name="The audit, for programs")
    agents = _credit(crate)
    actions = [_action(crate, product, product.record, agents) for product in products if product.record is not None]
    if actions:
        root["mentions"] = actions
    content: dict[str, Any] = crate.crate.metadata.generate()
    return content


class _Crate:
    """A crate in the making, each entity once."""

    def __init__(self, project: Path, results: str) -> None:
        self.project, self.results = project, results
        self.crate = ROCrate(version="1.1")
        self.crate.metadata.extra_terms.update(TERMS)
        # By identifier, as the search of the library goes through all entities.
        self.known: dict[str, Any] = {}

    def entity(self, identifier: str, kind: str, **properties: str) -> Any:
        """An entity that is no file."""
        if identifier not in self.known:
            address = quote(identifier, safe="#/:@,=", errors="replace")
            entity = ContextEntity(self.crate, address, properties={"@type": kind, **properties})
            self.known[identifier] = self.crate.add(entity)
        return self.known[identifier]

    def file(self, path: str, **about: str) -> Any:
        """A file of the crate; one that lies elsewhere, or is not plain, is only named."""
        inside = PurePosixPath(path).is_relative_to(self.results) and ".." not in PurePosixPath(path).parts
        # The standard has addresses of text alone.
        present = inside and path == as_text(path) and (self.project / path).is_file()
        if not present or any(strange_file(self.project, path)):
            return self.entity(f"#elsewhere/{as_text(path)}", "CreativeWork", **{"name": as_text(path), **about})
        if path not in self.known:
            name = str(PurePosixPath(path).relative_to(self.results))
            about = {"name": name, "contentSize": str((self.project / path).stat().st_size), **about}
            if form := FORMATS.get(PurePosixPath(path).suffix):
                about["encodingFormat"] = form
            self.known[path] = self.crate.add_file(self.project / path, name, properties=about)
        return self.known[path]


def _credit(crate: _Crate) -> list[Any]:
    """Authors and licence, as CITATION.cff has them; gives the authors."""
    path = crate.project / "CITATION.cff"
    citation = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if licence := citation.get("license"):
        # CITATION.cff names licences as SPDX does.
        about = {"name": licence, "description": f"The licence {licence}, by its SPDX identifier"}
        crate.crate.root_dataset["license"] = crate.entity(f"https://spdx.org/licenses/{licence}", "CreativeWork", **about)
    authors = []
    for number, author in enumerate(citation.get("authors", []), 1):
        kind = "Person" if "family-names" in author else "Organization"
        name = author.get("name") or f"{author.get('given-names', '')} {author['family-names']}".strip()
        authors.append(crate.entity(f"#author-{number}", kind, name=name))
    if authors:
        crate.crate.root_dataset["author"] = authors
    return authors


def _action(crate: _Crate, product: Product, record: Record, agents: list[Any]) -> Any:
    """The run of a tool, which is the job's function at the commit that it ran at."""
    title = as_text(product.title)
    commit = f"{(record.code.commit or 'no commit')[:12]}{', with changes' if record.code.dirty else ''}"
    release = record.packages.get("convrfm", "of unknown version")
    version = f"convrfm {release} ({commit})"
    identifier = f"#{record.job}@{commit.replace(' ', '-')}"
    tool = crate.entity(identifier, "SoftwareApplication", name=record.job, softwareVersion=version)
    settings = json.dumps(record.settings, sort_keys=True)
    inputs = [crate.file(file.path, sha256=file.sha256) for file in record.inputs.values()]
    inputs.append(crate.entity(f"#settings/{title}", "PropertyValue", name="settings", value=settings))
    outputs = [crate.file(file.path, sha256=file.sha256) for file in record.outputs.values()]
    outputs.append(crate.file(product.record_file))
    times = {"startTime": record.started, "endTime": record.ended}
    action = crate.entity(
        f"#run/{title}", "CreateAction", name=title, description=f"{record.job} with the settings of {title}",
        actionStatus="http://schema.org/CompletedActionStatus",
        **{key: time.isoformat() for key, time in times.items() if time is not None},
    )  # fmt: skip
    for key, entities in {"instrument": [tool], "object": inputs, "result": outputs, "agent": agents}.items():
        if entities:
            action[key] = entities if len(entities) > 1 else entities[0]
    return action
