"""What is released, and what releases it: dependencies, their pins, workflows, forms, the dry run."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import dnar2mae

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text()


def names(requirements):
    """Packages of requirements, without our own extras."""
    found = {re.match(r"[\w.-]+", line).group().lower().replace("_", "-") for line in requirements}
    return found - {"dnar2mae"}


def test_every_dependency_is_pinned_but_what_torch_or_a_gpu_decides():
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    pinned = {name.lower().replace("_", "-") for name in pins}
    needed = names(PROJECT["dependencies"]).union(*map(names, EXTRAS.values()))
    assert needed - pinned == {"triton", "flash-attn", "atheris"}
    assert pins["torch"].startswith("2.13.")  # newer ones have no small build for a CPU on every index


def test_what_is_installed_by_default_needs_no_gpu_and_caps_nothing():
    assert not names(PROJECT["dependencies"]) & {"triton", "accelerate", "flash-attn"}
    assert [line for line in PROJECT["dependencies"] if "<" in line] == []


def test_all_holds_every_extra_for_users_but_those_for_cuda():
    [everything] = EXTRAS["all"]
    assert set(re.search(r"\[(.*)\]", everything).group(1).split(",")) == EXTRAS.keys() - {
        *("all", "flash", "triton", "speed", "test", "fuzz", "dev", "docs")
    }


def test_the_version_is_written_in_one_place():
    assert "version" in PROJECT["dynamic"]
    done = subprocess.run(
        [sys.executable, "-m", "dnar2mae.cli", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == dnar2mae.__version__
    with pytest.raises(AttributeError, match="no attribute 'version'"):
        dnar2mae.version  # noqa: B018
    assert (ROOT / "dnar2mae" / "py.typed").exists()


def made(text):
    return set(re.findall(r"\bmake ([a-z]+)", text))


def test_workflows_and_hooks_make_what_the_makefile_has():
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.M))
    texts = [path.read_text() for path in (*WORKFLOWS, ROOT / ".pre-commit-config.yaml", ROOT / ".ci" / "run")]
    nightly = yaml.safe_load((ROOT / ".github" / "workflows" / "nightly.yml").read_text())["jobs"]["night"]
    night = {target.split()[0] for target in nightly["strategy"]["matrix"]["target"]}
    assert night.union(*map(made, texts)) <= targets
    assert night == {"slow", "fuzz", "torture", "coverage", "lowest"}


def test_the_matrix_begins_with_the_oldest_python():
    tested = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["test"]["strategy"][
        "matrix"
    ]
    assert f">={tested['python'][0]}" == PROJECT["requires-python"]
    assert tested["python"] == ["3.11", "3.12", "3.13", "3.14"]


SCHEMAS = {
    "vendor.github-workflows": WORKFLOWS,
    "vendor.github-issue-forms": sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[bf]*.yml")),
    "vendor.github-issue-config": [ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml"],
    "vendor.citation-file-format": [ROOT / "CITATION.cff"],
}


def follows(schema, *files):
    pytest.importorskip("check_jsonschema")
    line = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_for_the_platform_follow_their_schema(schema):
    assert SCHEMAS[schema]
    assert follows(schema, *SCHEMAS[schema])[0], follows(schema, *SCHEMAS[schema])[1]


def test_a_workflow_with_a_mistake_does_not(tmp_path):
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    (tmp_path / "ci.yml").write_text(text.replace("runs-on", "runs_on", 1))
    valid, printed = follows("vendor.github-workflows", tmp_path / "ci.yml")
    assert not valid
    assert "runs_on" in printed


@pytest.fixture
def tree(tmp_path):
    """A repository of the few files that the dry run looks at before it builds."""
    for name in (".ci/release", "CHANGELOG.md", "dnar2mae/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(tree, *line):
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *who, *line], cwd=tree, check=True, capture_output=True)


def commit(tree):
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--allow-empty", "--message", "a state")


def refusal(tree):
    done = subprocess.run(["bash", ".ci/release"], cwd=tree, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    return done.stderr.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_dry_run_refuses_what_must_not_be_released(tree):
    (tree / "new.py").touch()
    assert refusal(tree) == "release: the tree has changes that are not committed: git status"
    commit(tree)
    git(tree, "tag", f"v{dnar2mae.__version__}")
    commit(tree)
    assert refusal(tree) == f"release: v{dnar2mae.__version__} is another commit: raise __version__"
    git(tree, "tag", "--delete", f"v{dnar2mae.__version__}")
    (tree / "CHANGELOG.md").write_text("# Changelog\n")
    commit(tree)
    assert "CHANGELOG.md has neither a heading" in refusal(tree)
    (tree / "dnar2mae" / "__init__.py").write_text("")
    commit(tree)
    assert refusal(tree) == 'release: dnar2mae/__init__.py must have a line __version__ = "..."'
