"""The check of commit subjects that `make lint` runs, in small repositories."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tools.check_commit_subjects import LONGEST, check, problems


class Repository:
    """A repository whose only commit is the base."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.git("init", "--quiet")
        self.commit("old: whatever it says, long or short, it is from before the rule was checked.")
        self.base = self.git("rev-parse", "HEAD")

    def git(self, *arguments: str) -> str:
        # No settings of the machine, such as signatures and hooks.
        env = os.environ | {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            **{f"GIT_{who}_NAME": "A" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "a@example.com" for who in ("AUTHOR", "COMMITTER")},
        }
        command = ["git", "-C", self.path, *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, subject: str) -> None:
        self.git("commit", "--quiet", "--allow-empty", "--message", f"{subject}\n\nA body.")

    def check(self) -> int:
        return check(self.path, self.base, "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


@pytest.mark.parametrize(
    "subject", ["Close the iterator", "C" * LONGEST, "Merge branch 'core'", "Übersetze v1.2"]
)
def test_a_subject_by_the_rule_has_no_problem(subject: str) -> None:
    assert list(problems(subject)) == []


@pytest.mark.parametrize(
    ("subject", "problem"),
    [
        ("C" * (LONGEST + 1), "it has 73 characters, 72 are allowed"),
        ("close the iterator", "it does not begin with a capital"),
        ("0024: figures", "it does not begin with a capital"),
        ("", "it does not begin with a capital"),
        ("Close the iterator.", "it ends with a period"),
    ],
)
def test_a_subject_against_the_rule_has_a_problem(subject: str, problem: str) -> None:
    assert list(problems(subject)) == [problem]


def test_commits_before_the_base_and_the_base_are_not_checked(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.commit("Close the iterator")
    assert repository.check() == 0
    assert capsys.readouterr().out == ""


def test_every_commit_after_the_base_is_checked(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    for subject in ("close it", "Close the iterator", "Open it."):
        repository.commit(subject)
    assert repository.check() == 1
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(" ")[2] for line in said] == [
        "'Open it.': it ends with a period",
        "'close it': it does not begin with a capital",
    ]


def test_commits_of_a_merged_branch_are_checked(repository: Repository) -> None:
    repository.git("checkout", "--quiet", "-b", "side")
    repository.commit("close it")
    repository.git("checkout", "--quiet", "-")
    repository.commit("Open it")
    repository.git("merge", "--quiet", "--no-edit", "side")
    assert repository.check() == 1


def test_a_shallow_clone_without_the_base_is_not_checked(
    repository: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.commit("close it")
    clone = tmp_path / "clone"
    repository.git("clone", "--quiet", "--depth=1", repository.path.as_uri(), str(clone))
    assert check(clone, repository.base, "HEAD") == 0
    assert "are not checked" in capsys.readouterr().out


def test_a_folder_without_git_is_not_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(tmp_path, "f" * 40, "HEAD") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_machine_without_git_is_not_checked(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(repository.path))
    assert repository.check() == 0
    assert "are not checked" in capsys.readouterr().out
