"""Every command that a page shows: options and targets are known, files are there."""

import importlib.util
import shlex
import subprocess
import tomllib
from contextlib import redirect_stderr
from io import StringIO

import pytest
import yaml
from snakemake.cli import parse_args, parse_config

from convrfm.errors import ConvRFMError
from convrfm.replication.audit.cli import _parser
from convrfm.replication.config.validation import as_in_yaml
from convrfm.replication.plan.presets import load_settings
from docs.pages import PAGES, ROOT, blocks, commands, inline_code, name_of

PROGRAMS = ("convrfm", "make", "pip", "python", "snakemake")

NOT_RUN = {
    "git": "asks for the address of a clone",
    "cp": "copies a file, which is there by the tests of pages",
    "cd": "leads into that clone",
    "source": "activates the environment that the tests run in",
    "$EDITOR": "opens a file, for a person",
    "tmux": "keeps a terminal alive",
    "export": "names certificates and folders of a site",
    "srun": "runs a command on a node of SLURM",
    "sbatch": "hands a job to SLURM; the tests of the cluster do that",
    "ls": "shows what is there", "cat": "shows a file", "sed": "changes a file; test_following.py runs it",
}  # fmt: skip
"""Programs that are none of the project's, and what they do in the pages."""


def all_commands(text: str) -> list[list[str]]:
    """Those of `sh` blocks and of sentences, in words; without placeholders such as <name>."""
    found = commands(text)
    for code in inline_code(text):
        words = shlex.split(code) if code.startswith(tuple(f"{program} " for program in PROGRAMS)) else []
        found += [words] if words and not any("<" in word for word in words) else []
    return found


def of_program(program: str) -> list[list[str]]:
    """The arguments of a program in all pages, each once."""
    found = [words[1:] for page in PAGES for words in all_commands(page.read_text()) if words[0] == program]
    return [list(words) for words in dict.fromkeys(map(tuple, found))]


def unknown_programs(text: str) -> list[str]:
    return [words[0] for words in all_commands(text) if words[0] not in (*PROGRAMS, *NOT_RUN)]


def parsed(arguments: list[str]):
    """What Snakemake makes of arguments, in the root of the project, where profiles are."""
    said = StringIO()
    try:
        with redirect_stderr(said):
            return parse_args(arguments)[1]
    except SystemExit:
        pytest.fail(f"snakemake {' '.join(arguments)}: {said.getvalue()[-300:]}")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_programs_are_known(page):
    assert unknown_programs(page.read_text()) == []


def test_an_unknown_program_is_found():
    text = "```sh\nmake test && rm -rf results # nothing\n```\n\n`snakemake -n` and `make it`\n"
    assert unknown_programs(text) == ["rm"]
    assert all_commands(text)[-2:] == [["snakemake", "-n"], ["make", "it"]]


def test_snakemake_knows_every_option_and_target(followed, monkeypatch):
    monkeypatch.chdir(ROOT)
    targets = set()
    for arguments in of_program("snakemake"):
        given = parsed(arguments)
        targets |= set(given.targets)
        changes = as_in_yaml(parse_config([pair for pair in given.config or [] if not pair.startswith("backend=")]))
        # Keys and values; the plan below has the targets.
        load_settings({**yaml.safe_load((ROOT / "config.yaml").read_text()), **changes}, ROOT / "workflow/presets")
    # These are there in other presets alone.
    targets.discard("printed")
    planned = followed.snakemake("-n", "--quiet", "rules", "--", *sorted(targets), "all")
    assert "dry-run" in planned
    followed.snakemake("-n", "gone", succeeds=False)
    with pytest.raises(pytest.fail.Exception, match="unrecognized"):
        parsed(["--gone-option"])
    with pytest.raises(ConvRFMError, match="presett"):
        load_settings({"presett": "quick"}, ROOT / "workflow/presets")


def test_make_knows_every_target():
    targets = sorted({word for arguments in of_program("make") for word in arguments})
    planned = subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True, check=False)
    assert planned.returncode == 0, planned.stderr
    assert subprocess.run(["make", "-n", "gone"], cwd=ROOT, capture_output=True, check=False).returncode != 0


def test_scripts_know_every_option():
    for first, *rest in of_program("python"):
        if first == "-m":
            module, *rest = rest
            assert importlib.util.find_spec(module), module
            assert module != "pytest" or all((ROOT / file).exists() for file in rest)
            continue
        text = (ROOT / first).read_text()
        assert all(f'"{word}"' in text for word in rest if word.startswith("-")), (first, rest)


def test_extras_are_there():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for arguments in of_program("pip"):
        (package,) = arguments[1:]
        name, _, chosen = package.removesuffix("]").partition("[")
        assert name == ".", f"{package}: convrfm is on no index"
        assert set(filter(None, chosen.split(","))) <= set(extras), package


def test_convrfm_knows_every_command():
    for arguments in of_program("convrfm"):
        # A number where a sentence says N, and a folder where it names the command alone.
        whole = ["1" if word == "N" else word for word in arguments]
        if whole[0] != "--help":
            _parser().parse_args(whole if len(whole) > 1 else [*whole, "results/quick"])
    with pytest.raises(SystemExit):
        _parser().parse_args(["gone"])


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page.read_text(), "console")], ids=name_of)
def test_help_is_what_is_printed(page, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for block in blocks(page.read_text(), "console"):
        command, _, shown = block.text.partition("\n")
        program, *arguments = command.removeprefix("$ ").split()
        assert program == "convrfm"
        with pytest.raises(SystemExit):
            _parser().parse_args(arguments)
        assert capsys.readouterr().out == shown
