"""What the documentation site adds to MkDocs.

Pages that are kept outside of docs/, links between files of the repository, the lists of examples
and decisions, and the files of each example below what its README says.
"""

from __future__ import annotations

import posixpath
import re
import subprocess
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

REPOSITORY = Path(__file__).resolve().parent.parent
ADDRESS = "https://github.com/caddysnake/caddysnake/blob/main/"

# Page of the site -> file of the repository.
ELSEWHERE = {
    "index.md": "README.md",
    "benchmarks.md": "benchmarks/README.md",
    "changelog.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
}
EXAMPLES = {
    f"examples/{readme.parent.name}.md": str(readme.relative_to(REPOSITORY))
    for readme in sorted((REPOSITORY / "examples").glob("*/README.md"))
}
ELSEWHERE |= EXAMPLES
PAGES = {file: page for page, file in ELSEWHERE.items()}

# Larger files are only linked to.
LARGEST = 6000
LANGUAGES = {
    "Caddyfile": "caddyfile",
    "Dockerfile": "docker",
    ".html": "html",
    ".js": "javascript",
    ".css": "css",
    ".py": "python",
    ".yaml": "yaml",
    ".yml": "yaml",
}

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(\]\()([^)\s]+)(?=\))")
# A script, style, font or picture that a browser would get from another host.
FOREIGN = re.compile(
    r"<(?:script|img|iframe)[^>]*\ssrc=[\"']?https?:|<link[^>]*\shref=[\"']?https?:"
)


def on_config(config: Any) -> None:
    """Lists the examples and decisions, of which each is a page, behind the page about them."""
    decisions = sorted((REPOSITORY / "docs" / "decisions").glob("0*.md"))
    lists = {
        "Examples": list(EXAMPLES),
        "Decisions": [f"decisions/{decision.name}" for decision in decisions],
    }
    for entry in config.nav:
        for name in lists.keys() & entry.keys():
            entry[name] = [entry[name], *lists[name]]


def on_files(files: Any, config: Any) -> None:
    for page, file in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(REPOSITORY / file)))


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:
    """Links lead to pages of the site, or else to files of the repository."""
    uri = page.file.src_uri
    source = ELSEWHERE.get(uri, f"docs/{uri}")

    def target(match: re.Match[str]) -> str:
        path, hash_, anchor = match[2].partition("#")
        if not path or re.match(r"\w+:", path):
            return match[0]
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if (REPOSITORY / file / "README.md").is_file():
            file += "/README.md"
        if file in PAGES or file.startswith("docs/"):
            to = PAGES.get(file, file.removeprefix("docs/"))
            path = posixpath.relpath(to, posixpath.dirname(uri) or ".")
        elif (REPOSITORY / file).exists():
            path = ADDRESS + file
        return match[1] + path + hash_ + anchor

    # Odd parts are fenced blocks.
    parts = re.split(f"({FENCE.pattern})", markdown, flags=FENCE.flags)
    parts[::2] = [LINK.sub(target, part) for part in parts[::2]]
    return "".join(parts) + ("" if uri not in EXAMPLES else _files(Path(source).parent))


def _files(folder: Path) -> str:
    """A section with the files of an example, the Caddyfile first."""
    command = ["git", "ls-files", "-z", "."]
    done = subprocess.run(
        command, cwd=REPOSITORY / folder, stdout=subprocess.PIPE, text=True, check=True
    )
    names = sorted(done.stdout.split("\0")[:-1], key=lambda name: (name != "Caddyfile", name))
    sections = ["\n## Files\n"]
    for name in names:
        text = (REPOSITORY / folder / name).read_text()
        if name == "README.md" or not text.strip():
            continue
        body = f"[Read it in the repository]({ADDRESS}{folder}/{name}).\n"
        if len(text) <= LARGEST:
            language = LANGUAGES.get(Path(name).suffix or name, "text")
            body = f"````{language}\n{text.rstrip()}\n````\n"
        sections.append(f"### {name}\n\n{body}")
    return "\n".join(sections)


def on_post_page(output: str, page: Any, **_: object) -> None:
    match = FOREIGN.search(output)
    if match:
        raise ValueError(f"{page.file.src_uri} loads something from another host: {match[0]}")
