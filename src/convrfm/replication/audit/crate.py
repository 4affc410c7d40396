"""The results for the tools of others: an RO-Crate with every run as an action, and what a CODECHECK begins with.

The crate follows RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) and the profile Process Run Crate 0.5 (https://w3id.org/ro/wfrun),
since each job of the workflow is the run of one tool. The root of the crate is the folder of the results.
"""

import json
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import yaml
from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

from convrfm.replication.audit.document import as_text
from convrfm.replication.audit.outcome import Audit
from convrfm.replication.audit.records import Described, Product, Record, find_products, strange_file
from convrfm.replication.audit.summary import headline

__all__ = ["CODECHECK_FILE", "CRATE_FILE", "codecheck_of", "crate_of"]

CODECHECK_FILE = "codecheck.yml"
"""Name and place, the root of what is checked, are prescribed."""

CODECHECK = "https://codecheck.org.uk/spec/config/1.0/"

TITLE = "Mechanism of feature learning in convolutional neural networks"

AUTHORS = ("Daniel Beaglehole", "Adityanarayanan Radhakrishnan", "Parthe Pandit", "Mikhail Belkin")

CRATE_FILE = "ro-crate-metadata.json"
"""Its name and its place, the root of the crate, are prescribed."""

CRATE_VERSION = "1.1"

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"

PAPER = "https://arxiv.org/abs/2309.00570"

DOI = "https://doi.org/10.48550/arXiv.2309.00570"

TERMS = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}
"""What RO-Crate 1.1 does not know; given here, so that no further context has to be fetched."""

FORMATS = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".safetensors": "application/octet-stream",
}


def crate_of(project: Path, audit: Audit, made: datetime) -> dict[str, Any]:
    """Give the metadata of the crate, JSON-LD.

    Files are described as the records have them, hashes included; whether that is true is what the audit itself says. A
    file that is not there is left out.

    Args:
        project: the folder of the project.
        audit: what was found.
        made: when.
    """
    return _Crate(project, audit, made).metadata()


def codecheck_of(project: Path, audit: Audit, made: datetime) -> str:
    """Give the content of `codecheck.yml`, as far as the audit can know it: what is to be compared, and of which paper.

    Args:
        project: the folder of the project.
        audit: what was found.
        made: when.
    """
    judged: dict[tuple[str | None, str | None], list[str]] = {}
    for judgement in audit.judgements:
        judged.setdefault((judgement.figure, judgement.protocol), []).append(f"{judgement.claim} {judgement.verdict}")
    manifest = [
        {
            "file": as_text(str(PurePosixPath(product.files[form]).relative_to(audit.results))),
            "comment": as_text(
                f"{product.title}: {', '.join(judged.get((product.kind, product.keys['protocol']), ['no claim']))}"
            ),
        }
        for product, _ in find_products(project, audit.results)
        if product.is_figure
        for form in ("png", "csv")
        if (project / product.files[form]).is_file()
    ]
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


class _Crate:
    """One crate in the making."""

    def __init__(self, project: Path, audit: Audit, made: datetime) -> None:
        self.project = project
        self.results = audit.results
        self.crate = ROCrate(version=CRATE_VERSION)
        self.crate.metadata.extra_terms.update(TERMS)
        # Entities by identifier, as the search of the library goes through all of them.
        self.known: dict[str, Any] = {}
        root = self.crate.root_dataset
        root["name"] = f"Replication of arXiv 2309.00570, preset {audit.preset}"
        root["description"] = (
            f"Figures of a replication of {TITLE!r}, with every run that they rest on. "
            f"The audit of {made:%Y-%m-%d} says of them: {headline(audit)}. See audit/index.html."
        )
        self.crate.datePublished = made
        root["conformsTo"] = self._entity(PROFILE, "CreativeWork", {"name": "Process Run Crate", "version": "0.5"})
        root["citation"] = self._entity(PAPER, "ScholarlyArticle", {"name": TITLE})
        self.agents = self._credit()
        for name, title in (
            ("audit/index.html", "The audit, as a page"),
            ("audit/audit.json", "The audit, for programs"),
        ):
            self._file(f"{self.results}/{name}", None, {"name": title})
        products = [product for product, _ in find_products(project, audit.results)]
        actions = [self._action(product, product.record) for product in products if product.record is not None]
        if actions:
            root["mentions"] = actions

    def metadata(self) -> dict[str, Any]:
        content: dict[str, Any] = self.crate.metadata.generate()
        return content

    def _entity(self, identifier: str, kind: str, properties: dict[str, Any]) -> Any:
        """An entity that is no file; the same one for the same identifier."""
        if identifier not in self.known:
            address = quote(identifier, safe="#/:@,=", errors="replace")
            entity = ContextEntity(self.crate, address, properties={"@type": kind, **properties})
            self.known[identifier] = self.crate.add(entity)
        return self.known[identifier]

    def _credit(self) -> list[Any]:
        """Authors and licence, as CITATION.cff has them; gives the authors."""
        path = self.project / "CITATION.cff"
        citation = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if licence := citation.get("license"):
            # CITATION.cff names licences as SPDX does.
            about = {"name": licence, "description": f"The licence {licence}, by its SPDX identifier"}
            url = f"https://spdx.org/licenses/{licence}"
            self.crate.root_dataset["license"] = self._entity(url, "CreativeWork", about)
        authors = [
            self._entity(
                f"#author-{number}",
                "Person" if "family-names" in author else "Organization",
                {"name": author.get("name") or f"{author.get('given-names', '')} {author['family-names']}".strip()},
            )
            for number, author in enumerate(citation.get("authors", []), 1)
        ]
        if authors:
            self.crate.root_dataset["author"] = authors
        return authors

    def _action(self, product: Product, record: Record) -> Any:
        """The run of a tool."""
        title = as_text(product.title)
        settings = {"name": "settings", "value": json.dumps(record.settings, sort_keys=True)}
        inputs = [self._file(file.path, file, {}) for file in record.inputs.values()]
        inputs.append(self._entity(f"#settings/{title}", "PropertyValue", settings))
        outputs = [self._file(file.path, file, {}) for file in record.outputs.values()]
        outputs.append(self._file(product.record_file, None, {}))
        times = {"startTime": record.started, "endTime": record.ended}
        return self._entity(
            f"#run/{title}",
            "CreateAction",
            {
                "name": title,
                "description": f"{record.job} with the settings of {title}",
                "instrument": _reference(self._tool(record)),
                "object": [_reference(entity) for entity in inputs],
                "result": [_reference(entity) for entity in outputs],
                "actionStatus": "http://schema.org/CompletedActionStatus",
                **{key: time.isoformat() for key, time in times.items() if time is not None},
                **({"agent": [_reference(entity) for entity in self.agents]} if self.agents else {}),
            },
        )

    def _tool(self, record: Record) -> Any:
        """The job's function, at the commit that it ran at."""
        commit = f"{(record.code.commit or 'no commit')[:12]}{', with changes' if record.code.dirty else ''}"
        release = record.packages.get("convrfm", "of unknown version")
        return self._entity(
            f"#{record.job}@{commit.replace(' ', '-')}",
            "SoftwareApplication",
            {"name": record.job, "softwareVersion": f"convrfm {release} ({commit})"},
        )

    def _file(self, path: str, described: Described | None, properties: dict[str, Any]) -> Any:
        """A file of the crate, once; one that lies elsewhere is only named."""
        hashes = {} if described is None else {"sha256": described.sha256}
        inside = PurePosixPath(path).is_relative_to(self.results) and ".." not in PurePosixPath(path).parts
        # The standard has addresses of text alone.
        present = inside and path == as_text(path) and (self.project / path).is_file()
        present = present and not any(strange_file(self.project, path))
        if not present:
            return self._entity(
                f"#elsewhere/{as_text(path)}", "CreativeWork", {"name": as_text(path), **hashes, **properties}
            )
        if path not in self.known:
            name = str(PurePosixPath(path).relative_to(self.results))
            about = {
                "name": name,
                "contentSize": str((self.project / path).stat().st_size),
                **hashes,
                **properties,
            }
            if form := FORMATS.get(PurePosixPath(path).suffix):
                about["encodingFormat"] = form
            self.known[path] = self.crate.add_file(self.project / path, name, properties=about)
        return self.known[path]


def _reference(entity: Any) -> dict[str, str]:
    return {"@id": entity.id}
