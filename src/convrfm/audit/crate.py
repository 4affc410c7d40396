"""The results as an RO-Crate: every run as an action with its tool, its inputs, its outputs and its times.

It follows RO-Crate 1.1 (https://w3id.org/ro/crate/1.1) and the profile Process Run Crate 0.5 (https://w3id.org/ro/wfrun),
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

from convrfm.audit.outcome import Audit
from convrfm.audit.records import strange_file
from convrfm.audit.runs import Run, RunFile, as_text, find_runs

__all__ = ["CRATE_FILE", "crate_of"]

CRATE_FILE = "ro-crate-metadata.json"
"""Its name and its place, the root of the crate, are prescribed."""

CRATE_VERSION = "1.1"

PROFILE = "https://w3id.org/ro/wfrun/process/0.5"

PAPER = "https://arxiv.org/abs/2309.00570"

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
            "Figures of a replication of 'Mechanism of feature learning in convolutional neural networks', with every run "
            f"that they rest on. The audit of {made:%Y-%m-%d} calls them {'trusted' if audit.trusted else 'NOT trusted'}: "
            "see audit/index.html."
        )
        self.crate.datePublished = made
        root["conformsTo"] = self._entity(PROFILE, "CreativeWork", {"name": "Process Run Crate", "version": "0.5"})
        root["citation"] = self._entity(
            PAPER, "ScholarlyArticle", {"name": "Mechanism of feature learning in convolutional neural networks"}
        )
        self.agents = self._credit()
        for name, title in (
            ("audit/index.html", "The audit, as a page"),
            ("audit/audit.json", "The audit, for programs"),
        ):
            self._file(f"{self.results}/{name}", None, {"name": title})
        actions = [self._action(run) for run in find_runs(project, audit.results) if run.readable]
        if actions:
            root["mentions"] = actions

    def metadata(self) -> dict[str, Any]:
        content: dict[str, Any] = self.crate.metadata.generate()
        return content

    def _entity(self, identifier: str, kind: str, properties: dict[str, Any]) -> Any:
        """An entity that is no file; the same one for the same identifier."""
        if identifier not in self.known:
            address = quote(identifier, safe="#/:@,=")
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

    def _action(self, run: Run) -> Any:
        """The run of a tool."""
        inputs = [self._file(file.path, file, {}) for file in run.inputs]
        settings = {"name": "settings", "value": json.dumps(run.settings, sort_keys=True)}
        inputs.append(self._entity(f"#settings/{run.name}", "PropertyValue", settings))
        outputs = [self._file(file.path, file, {}) for file in (*run.outputs, RunFile(run.record, ""))]
        times = {"startTime": run.started, "endTime": run.ended}
        return self._entity(
            f"#run/{run.name}",
            "CreateAction",
            {
                "name": run.name,
                "description": f"{run.job} with the settings of {run.name}",
                "instrument": _reference(self._tool(run)),
                "object": [_reference(entity) for entity in inputs],
                "result": [_reference(entity) for entity in outputs if entity is not None],
                "actionStatus": "http://schema.org/CompletedActionStatus",
                **{key: time.isoformat() for key, time in times.items() if time is not None},
                **({"agent": [_reference(entity) for entity in self.agents]} if self.agents else {}),
            },
        )

    def _tool(self, run: Run) -> Any:
        """The job's function, at the commit that it ran at."""
        commit = f"{(run.commit or 'no commit')[:12]}{', with changes' if run.dirty else ''}"
        release = run.packages.get("convrfm", "of unknown version")
        return self._entity(
            f"#{run.job}@{commit.replace(' ', '-')}",
            "SoftwareApplication",
            {"name": run.job, "softwareVersion": f"convrfm {release} ({commit})"},
        )

    def _file(self, path: str, described: RunFile | None, properties: dict[str, Any]) -> Any:
        """A file of the crate, once; one that lies elsewhere is only named."""
        hashes = {"sha256": described.sha256} if described is not None and described.sha256 else {}
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
