"""How many distributions an install has, and what they take on disk: the main one and those with extras.

python -m tests.benchmarks.install_size [--source .] [--extra embedded --extra dask]

Each install is made by pip in a new virtual environment below the system's temporary folder: from wheels, zeroc-ice
from the wheel that `deploy/build_ice.py` keeps. pip and setuptools, which every environment has, do not count. Sizes
are those of the installed files without Python's caches.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_LIST = """
import json
from importlib.metadata import distributions
from pathlib import Path
sizes = {}
for found in distributions():
    paths = [Path(found.locate_file(f)) for f in found.files or () if f.suffix != ".pyc"]
    sizes[found.metadata["Name"]] = sum(p.stat().st_size for p in paths if p.is_file())
print(json.dumps(sizes))
"""
_TOOLS = ("pip", "setuptools", "wheel")


def installed(source: Path, extra: str, ice: str) -> dict[str, int]:
    """Bytes of each distribution of a new environment with the package at ``source`` and one of its extras."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        wanted = f"{source}[{extra}]" if extra else str(source)
        command = [str(python), "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check"]
        subprocess.run([*command, ice], check=True)
        subprocess.run([*command, wanted], check=True)
        listed = subprocess.run([str(python), "-c", _LIST], capture_output=True, text=True, check=True).stdout
    return {name: size for name, size in json.loads(listed).items() if name.lower() not in _TOOLS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", type=Path, default=ROOT, help="a checkout of the package")
    parser.add_argument("--extra", action="append", default=[], help="also measure the install with this extra")
    parser.add_argument("--largest", type=int, default=0, help="also list so many of the largest distributions")
    chosen = parser.parse_args()
    built = subprocess.run(
        [sys.executable, str(ROOT / "deploy" / "build_ice.py")], capture_output=True, text=True, check=True
    )
    ice = built.stdout.splitlines()[-1]
    print("| install | distributions | MB |\n|---|---|---|")
    for extra in ("", *chosen.extra):
        sizes = installed(chosen.source.resolve(), extra, ice)
        print(f"| {f'with `{extra}`' if extra else 'main'} | {len(sizes)} | {sum(sizes.values()) / 1e6:.0f} |")
        for name in sorted(sizes, key=sizes.__getitem__, reverse=True)[: chosen.largest]:
            print(f"|   {name} | | {sizes[name] / 1e6:.0f} |")


if __name__ == "__main__":
    main()
