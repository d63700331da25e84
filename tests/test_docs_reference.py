"""The reference has every option, field, flag, placeholder and default of the code."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from harness.documents import (
    CONFIGURATION,
    DOCS,
    FENCED,
    adapt,
    anchors,
    rows,
    section,
)
from harness.settings import REPOSITORY

COMMAND_LINE = DOCS / "command-line.md"


def source(file: str) -> str:
    return (REPOSITORY / file).read_text()


class Row(NamedTuple):
    """A row of the table of all options."""

    name: str
    field: str
    flags: set[str]
    default: str
    scope: str


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def table() -> dict[str, Row]:
    """Option -> its row."""
    text = section(CONFIGURATION, "## Options").partition("\n### ")[0]
    found = {}
    for option, _, field, flags, default, scope in rows(text):
        match = re.fullmatch(r"\[`(\w+)`\]\(#(\w+)\)", option)
        assert match is not None and match[1] == match[2], option
        assert match[1] not in found
        found[match[1]] = Row(match[1], quoted(field)[0], set(quoted(flags)), default, scope)
    return found


TABLE = table()


def doc_comment(file: str, function: str) -> str:
    """The comment above a Go function."""
    match = re.search(rf"((?:^//.*\n)+)^func (?:\(.*\) )?{function}\(", source(file), re.MULTILINE)
    assert match is not None, f"{function} in {file} has no comment"
    return match[1]


def options(file: str, function: str, indent: int = 4) -> set[str]:
    """The options in a directive's syntax: the first words of its indented lines."""
    pattern = rf"^//\t {{{indent}}}(\w+)"
    return set(re.findall(pattern, doc_comment(file, function), re.MULTILINE))


def suboptions() -> set[str]:
    return options("caddyfile.go", "UnmarshalCaddyfile", 8)


def own_section(option: str) -> str:
    """The section of an option, without the sections of the options in it."""
    level = "####" if option in suboptions() else "###"
    return section(CONFIGURATION, f"{level} {option}").partition("\n#### ")[0]


# JSON field -> the comment of the field in Go.
FIELD = re.compile(r"((?:^\t//.*\n)+)^\t\w+ +\S+ +`json:\"(\w+),omitempty\"`$", re.MULTILINE)
FILES = ("caddysnake.go", "websocket_options.go", "autoreload.go")


def fields(*files: str) -> dict[str, str]:
    found = {}
    for file in files:
        written = FIELD.findall(source(file))
        assert len(written) == source(file).count(',omitempty"`')
        found |= {name: re.sub(r"\s*//\s*", " ", comment) for comment, name in written}
    return found


def test_every_option_of_the_directive_is_in_the_table() -> None:
    known = options("caddyfile.go", "UnmarshalCaddyfile")
    assert "module_wsgi" in known
    # `module` is the argument of the directive.
    assert set(TABLE) == known | suboptions() | {"module"}
    for name, row in TABLE.items():
        assert (row.scope in ("`websocket`", "`autoreload`")) == (name in suboptions()), name


def test_the_comment_of_the_directive_has_the_options_that_are_read() -> None:
    """Beside those of earlier releases."""
    read = set(re.findall(r'^\t{1,2}case "(\w+)":', source("caddyfile.go"), re.MULTILINE))
    read |= set(re.findall(r'^\t{2}case "(\w+)":', source("autoreload.go"), re.MULTILINE))
    assert "module_wsgi" in read
    assert read == options("caddyfile.go", "UnmarshalCaddyfile") | suboptions()


def test_the_syntax_on_the_page_is_that_of_the_comment() -> None:
    comment = doc_comment("caddyfile.go", "UnmarshalCaddyfile")
    written = [line.split() for line in re.findall(r"^//\t +(.+)$", comment, re.MULTILINE)]
    syntax = section(CONFIGURATION, "## The directive")
    assert [line.split() for line in re.findall(r"^ {4,}(\S.*)$", syntax, re.MULTILINE)] == written


def test_every_field_of_the_handler_is_in_the_table() -> None:
    known = fields(*FILES)
    assert "module_wsgi" in known
    assert {row.field for row in TABLE.values()} == set(known)


@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.name)
def test_an_option_has_one_section_with_an_example(row: Row) -> None:
    assert anchors(CONFIGURATION).count(row.name) == 1
    blocks = FENCED.findall(own_section(row.name))
    examples = [text for language, text in blocks if language == "caddyfile"]
    assert len(examples) == 1
    word = "python" if row.name == "module" else row.name
    assert re.search(rf"^\t+{word}\b", examples[0], re.MULTILINE)
    assert f'"{row.field}"' in adapt(examples[0]).stdout


@pytest.mark.parametrize("row", TABLE.values(), ids=lambda row: row.name)
def test_a_default_is_that_of_the_code(row: Row) -> None:
    comment = fields(*FILES)[row.field]
    match = re.search(r"Default: ([^.]+)\.", comment)
    says = re.search(r"^Default: (.+)\.$", own_section(row.name), re.MULTILINE)
    assert (says[1] if says else "") == row.default
    shown = row.default.strip("`")
    if match is None:
        assert shown in ("", "none", "Caddy's working directory")
        return
    same = {"off": ("false", "no autoreload"), "on": ("true",), "16MiB": ("16777216 (16 MiB)",)}
    assert shown == match[1] or match[1] in same.get(shown, ()), match[1]


def constant(file: str, name: str) -> str:
    match = re.search(rf"^\t{name} += (.+)$", source(file), re.MULTILINE)
    assert match is not None, f"{file} has no {name}"
    return match[1]


def duration(expression: str) -> str:
    """`30 * time.Second` -> `30s`, as the table writes it."""
    number, _, unit = expression.rpartition("time.")
    units = {"Millisecond": "ms", "Second": "s", "Minute": "m"}
    return f"{number.rstrip(' *') or 1}{units[unit]}"


def test_defaults_are_the_constants_of_the_code() -> None:
    assert TABLE["threads"].default == constant("caddysnake.go", "defaultThreads")
    assert duration(constant("caddysnake.go", "defaultStartTimeout")) == "1m"
    shown = {
        "start_timeout": "60s",  # the minute
        "slow_request": duration(constant("caddysnake.go", "defaultSlowRequest")),
        "blocked_loop": duration(constant("caddysnake.go", "defaultBlockedLoop")),
        "debounce": duration(constant("autoreload.go", "defaultDebounce")),
        "grace": duration(constant("autoreload.go", "defaultGrace")),
        "drain_timeout": duration(constant("generation.go", "drainTimeout")),
        "ping_interval": duration(constant("websocket_options.go", "defaultPing")),
        "ping_timeout": duration(constant("websocket_options.go", "defaultPing")),
    }
    assert {name: TABLE[name].default.strip("`") for name in shown} == shown
    assert constant("websocket_options.go", "defaultMaxMessage") == "16 << 20"
    for file, name in (
        ("caddysnake.go", "lifespan"),
        ("caddysnake.go", "loop"),
        ("autoreload.go", "on_error"),
    ):
        first = re.search(rf'oneOf\("{name}", \S+ "(\w+)"', source(file))
        assert first is not None
        assert TABLE[name].default == f"`{first[1]}`"


FLAG = re.compile(
    r'flags\.\w+Var(P?)\(&o\.\w+, "([\w-]+)"(?:, "(\w)")?, ("[^"]*"|\w+), "((?:[^"\\]|\\.)*)"'
)


def test_every_flag_is_documented_with_its_default() -> None:
    written = FLAG.findall(source("python_server.go"))
    assert len(written) == source("python_server.go").count("flags.")
    known = {
        f"`--{name}`" + (f", `-{short}`" if short else ""): default
        for _, name, short, default, _ in written
    }
    table = section(COMMAND_LINE, "## One application, no Caddyfile")
    shown = {cells[0]: cells[1] for cells in rows(table)}
    assert set(shown) == set(known)
    for flag, default in known.items():
        plain = {"defaultThreads": TABLE["threads"].default, "false": "", "nil": ""}.get(
            default, default.strip('"')
        )
        # The help of a flag names a default that the command works out itself.
        if plain:
            assert shown[flag].strip("`") == plain, flag


def test_every_flag_of_dev_is_documented() -> None:
    text = section(COMMAND_LINE, "## While you work on it")
    own = set(re.findall(r'Flags\(\)\.\w+\((?:&o\.\w+, )?"([\w-]+)"', source("dev.go")))
    assert len(own) == source("dev.go").count("cmd.Flags().")
    assert {cells[0].strip("`") for cells in rows(text)} == {f"--{name}" for name in own}
    shared = source("python_server.go").partition("addFlags(flags *pflag")[2].partition("\n}")[0]
    known = {f"--{name}" for _, name, _, _, _ in FLAG.findall(shared)}
    assert {name for name in known if f"`{name}`" in text.partition("| option")[0]} == known


def test_every_flag_of_deploy_is_documented() -> None:
    known = set(re.findall(r'Flags\(\)\.\w+\(&d\.\w+, "([\w-]+)"', source("deploy.go")))
    assert len(known) == source("deploy.go").count("cmd.Flags()")
    text = section(DOCS / "deploying.md", "### A new release")
    assert {name for name in known if f"`--{name}`" in text} == known


def test_flags_in_the_table_are_those_of_the_command_line() -> None:
    """Every flag that sets an option of the directive, and no other."""
    known = {f"--{name}" for _, name, _, _, _ in FLAG.findall(source("python_server.go"))}
    shown = {flag for row in TABLE.values() for flag in row.flags}
    assert shown <= known
    names = {name.replace("_", "-") for name in TABLE if f"--{name.replace('_', '-')}" in known}
    assert {f"--{name}" for name in names} <= shown
    assert known - shown == {
        "--domain",
        "--listen",
        "--static-path",
        "--static-route",
        "--access-logs",
        "--admin",
        "--workers-runtime",
    }


def test_every_global_option_is_documented() -> None:
    known = options("engine.go", "parseGlobalOption")
    assert "spare_core" in known
    text = section(CONFIGURATION, "## Global option")
    assert {name for name in known if f"`{name}" in text} == known
    assert set(fields("engine.go")) == known


def test_options_that_take_placeholders_are_named_everywhere() -> None:
    """They are the fields of `appTemplate` that are templates."""
    struct = source("app_template.go").partition("type appTemplate struct {")[2].partition("\n}")[0]
    found = re.findall(r"^\t(\w+) +\S*template$", struct, re.MULTILINE)
    known = {re.sub(r"(?=[A-Z])", "_", field).lower() for field in found} - {"module"}
    assert "working_dir" in known

    def named(page: str, sentence: str) -> set[str]:
        """The options in a list behind "the names of the application", as fields are called."""
        text = re.sub(r"\s+(?://)?\s*", " ", source(page))
        match = re.search(sentence, text)
        assert match is not None, page
        words = set(re.findall(r"\w+", match[1])) - {"in", "or", "and"}
        return {{"env_var": "env", "env_file": "env_files"}.get(word, word) for word in words}

    names = "names of the application, (.+?)"
    assert named("docs/configuration.md", f"are allowed in the {names}: ") == known
    assert named("CHANGELOG.md", f"Placeholders in the {names}: ") == known
    assert named("caddysnake.go", "The application.s name, (.+?) may contain placeholders") == known


def test_placeholders_that_the_code_treats_differently_are_documented() -> None:
    known = set(re.findall(r'HasPrefix\(name, "([a-z.]+\.)"\)', source("template.go")))
    assert {"env.", "file."} < known
    text = section(CONFIGURATION, "## Placeholders")
    assert {name for name in known if f"`{{{name}" in text} == known
