"""Release build: sdist, wheel and notes from the last commit into dist, checked in a fresh environment elsewhere.

    make release                                             # links of README that an index cannot follow become text
    make release URL=https://github.com/NAME/deeptraffic     # they, and its images, lead to this repository

The wheel is built from the sdist, so that the sdist holds what it needs. Nothing is uploaded.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(!?)\[((?:!\[[^\]]*\]\([^)]*\)|[^\]!])*)\]\((?!https?:|#)([^)\s]+)\)")
IMAGE_TAG = re.compile(r'<img src="(?!https?:)([^"]+)"([^>]*)>')
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def main() -> None:
    """Build and check a release; a failing step ends it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", default="", help="URL of the public repository, for README's links and images.")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="Folder of the files.")
    given = parser.parse_args()
    if sh("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no"):
        sys.exit("files have changed; commit them first, a release is made from a commit")
    with tempfile.TemporaryDirectory(prefix="deeptraffic-release-") as name:
        folder = Path(name)
        source, built = folder / "source", folder / "built"
        sh("git", "-C", str(ROOT), "archive", "-o", str(folder / "source.tar"), "HEAD")
        with tarfile.open(folder / "source.tar") as archive:
            archive.extractall(source, filter="data")
        readme = (source / "README.md").read_text(encoding="utf-8")
        (source / "README.md").write_text(for_index(readme, given.url.rstrip("/")), encoding="utf-8")
        python = environment(folder / "tools", source, "build", "twine")
        sh(python, "-m", "build", "--outdir", str(built), str(source))
        sh(python, "-m", "twine", "check", "--strict", *map(str, built.iterdir()))
        (wheel,) = built.glob("*.whl")
        version = check_installed(folder, source, wheel, readme)
        (built / "RELEASE_NOTES.md").write_text(notes(source / "CHANGELOG.md", version), encoding="utf-8")
        given.output.mkdir(parents=True, exist_ok=True)
        for file in sorted(built.iterdir()):
            shutil.copy(file, given.output)
            print(f"{given.output / file.name}: {file.stat().st_size / 1e6:.2f} MB")


def for_index(readme: str, url: str) -> str:
    """Return README as a package index can show it: relative links and images lead to the repository at `url`.

    Without a URL, a link becomes its text, and an image nothing.
    """

    def link(found: re.Match[str]) -> str:
        image, text, path = found.groups()
        if image:
            return f"![{text}]({url}/raw/main/{path})" if url else ""
        return f"[{text}]({url}/blob/main/{path})" if url else text

    def tag(found: re.Match[str]) -> str:
        return f'<img src="{url}/raw/main/{found[1]}"{found[2]}>' if url else ""

    return re.sub(r"\n{3,}", "\n\n", IMAGE_TAG.sub(tag, LINK.sub(link, readme)))


def notes(changelog: Path, version: str) -> str:
    """Return the section of a version in the changelog."""
    found = re.search(
        rf"^## \[{re.escape(version)}\].*?\n(.*?)(?=^## |\Z)", changelog.read_text(encoding="utf-8"), re.M | re.S
    )
    if found is None:
        sys.exit(f"CHANGELOG.md has no section for version {version}; write one")
    return f"# DeepTraffic {version}\n\n{found[1].strip()}\n"


def check_installed(folder: Path, source: Path, wheel: Path, readme: str) -> str:
    """Install the wheel alone, run README's example and some commands outside the repository; return its version."""
    python = environment(folder / "plain", source, str(wheel))
    command = str(Path(python).with_name("deeptraffic"))
    empty = folder / "empty"
    empty.mkdir()
    code = CODE.search(readme)
    assert code is not None, "README has no example"
    print(sh(python, "-c", code[1], cwd=empty))
    print(sh(command, "evaluate", "champion", "--protocol", "open", "--runs", "2", cwd=empty))
    print(sh(command, "doctor", cwd=empty))
    version = sh(command, "--version", cwd=empty).split()[-1]
    if wheel.name.split("-")[1] != version:
        sys.exit(f"{wheel.name} says that its version is {version}")
    return version


def environment(folder: Path, source: Path, *packages: str) -> str:
    """Return the Python of a new virtual environment with these packages, in the versions of constraints.txt."""
    sh(sys.executable, "-m", "venv", str(folder))
    python = str(folder / ("Scripts" if sys.platform == "win32" else "bin") / "python")
    sh(python, "-m", "pip", "install", "-q", "-c", str(source / "constraints.txt"), *packages)
    return python


def sh(*command: str, cwd: Path | None = None) -> str:
    """Run a command and return its output; end with its errors if it fails."""
    run = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
    if run.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{run.stdout}{run.stderr}")
    return run.stdout


if __name__ == "__main__":
    main()
