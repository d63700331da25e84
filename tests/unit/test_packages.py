"""What is installed, and which packages can't be shared."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from caddysnake_py.packages import CONFIGURED, Installed


def install(site: Path, name: str, files: list[str], *requires: str, version: str = "1.0") -> None:
    metadata = site / f"{name}-{version}.dist-info"
    metadata.mkdir()
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {r}" for r in requires)]
    text = "\n".join([*lines, "", "Requires-Dist: not-in-the-description"])
    (metadata / "METADATA").write_text(text)
    (metadata / "RECORD").write_text("".join(f"{file},sha256=x,1\n" for file in files))


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    install(tmp_path, "Django", ["django/__init__.py", "../../bin/django-admin"], "asgiref>=3")
    install(tmp_path, "asgiref", ["asgiref/__init__.py"])
    install(tmp_path, "djangorestframework", ["rest_framework/__init__.py"], "django >= 4.2")
    install(
        tmp_path, "Nested_Serializers", ["nested.py"], "DjangoRestFramework[x]; python_version>'3'"
    )
    install(tmp_path, "sentry-sdk", ["sentry_sdk/__init__.py"], "django>=1.8; extra == 'django'")
    install(tmp_path, "flask", ["flask/__init__.py"], "asgiref>=3.2; extra == 'async'")
    install(
        tmp_path, "native", ["native/x" + EXTENSION_SUFFIXES[0], "native/__init__.py"], "django"
    )
    install(tmp_path, "plain", ["plain.py"], "flask")
    return Installed([str(tmp_path)])


def test_private_is_what_depends_on_a_private_package(installed: Installed) -> None:
    assert installed.private_packages(CONFIGURED) == {
        "asgiref",
        "django",
        "nested",
        "rest_framework",
        "sentry_sdk",
    }


def test_what_an_application_isolates_takes_its_dependants_along(installed: Installed) -> None:
    assert installed.private_packages(frozenset({"flask"})) == {"flask", "plain"}


@pytest.mark.parametrize("name", ["djangorestframework", "DjangoRestFramework", "rest_framework"])
def test_packages_are_found_by_distribution_and_by_their_own_name(
    installed: Installed, name: str
) -> None:
    assert installed.packages_of(name) == {"rest_framework"}


def test_what_is_not_installed_has_no_packages(installed: Installed) -> None:
    assert installed.packages_of("absent") == frozenset()


def test_packages_with_extension_modules_are_known(installed: Installed) -> None:
    assert installed.has_extensions("native")
    assert not installed.has_extensions("flask")


def test_a_file_leads_to_its_distribution(installed: Installed, tmp_path: Path) -> None:
    found = installed.distribution_of(str(tmp_path / "rest_framework" / "__init__.py"))
    assert found is not None
    assert (found.name, found.version) == ("djangorestframework", "1.0")
    assert installed.distribution_of(str(tmp_path / "elsewhere.py")) is None


def test_the_first_directory_counts(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        install(tmp_path / str(number), "tool", ["tool.py"], version=f"{number}.0")
    both = Installed([str(tmp_path / "1"), str(tmp_path / "2")])
    assert both.distributions["tool"].version == "1.0"


def test_metadata_that_cant_be_read_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "broken-1.0.dist-info").mkdir()
    (tmp_path / "odd-1.0.dist-info").mkdir()
    (tmp_path / "odd-1.0.dist-info" / "METADATA").write_bytes(b"Name: \xff\n")
    assert Installed([str(tmp_path), str(tmp_path / "absent")]).distributions == {}
