"""What is built from the tree, and what it does in an environment of its own beside a bot."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parents[1]
TREE = ("fanout", "clients", "protocol", "pyproject.toml", "README.md", "LICENSE")

BUILD = """
import sys
from setuptools import build_meta
kind, place = sys.argv[1:]
getattr(build_meta, f"build_{kind}")(place)
"""

BOT = """
import sys
import clients.own, protocol
from fanout.clients.tcp import TcpClient
import fanout.protocol
assert protocol.OWN and clients.own.OWN
assert "site-packages" in fanout.protocol.__file__, fanout.protocol.__file__
print(sorted({"trio", "numpy", "typer"} & set(sys.modules)))
"""


def build(tree: Path, kind: str, place: Path) -> Path:
    """Build from a tree, with the tools of this environment and without a compiler."""
    place.mkdir(parents=True)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, kind, str(place)],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "CC": "false"},
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    (built,) = place.iterdir()
    return built


def names_in(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree without what was built in it."""
    tree = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("*.so", "*.c", "__pycache__", "build", "*.egg-info")
    for name in TREE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(source, tree / name)
    return tree


@pytest.fixture(scope="module")
def wheel(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tree, "wheel", tmp_path_factory.mktemp("wheel") / "dist")


@pytest.mark.long
def test_a_wheel_holds_fanout_and_nothing_else(wheel: Path) -> None:
    names = names_in(wheel)
    tops = {each.split("/")[0] for each in names}
    assert {each for each in tops if not each.endswith(".dist-info")} == {"fanout"}
    assert names >= {
        "fanout/py.typed",
        "fanout/clients/tcp.py",
        "fanout/clients/columns/rows.py",
        "fanout/protocol/session.py",
        "fanout/protocol/WIRE.md",
        "fanout/cli/app.py",
    }
    assert not [each for each in names if "test" in each.split("/")]


@pytest.mark.long
def test_a_source_distribution_makes_the_same_wheel(
    tree: Path, wheel: Path, tmp_path: Path
) -> None:
    archive = build(tree, "sdist", tmp_path / "sdist")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    again = build(unpacked, "wheel", tmp_path / "dist")
    assert names_in(again) == names_in(wheel)
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        for name in names_in(wheel):
            if name.endswith(".py"):
                assert one.read(name) == other.read(name), name


@pytest.mark.long
def test_a_bot_with_modules_of_our_names_uses_both(wheel: Path, tmp_path: Path) -> None:
    place = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    python = place / "bin" / "python"
    install = ["install", "-q", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), *install], check=True, timeout=60
    )
    (site,) = place.glob("lib/python*/site-packages")
    (site / "msgspec").symlink_to(Path(msgspec.__file__).parent)
    bot = tmp_path / "bot"
    (bot / "clients").mkdir(parents=True)
    (bot / "clients" / "own.py").write_text("OWN = True\n")
    (bot / "protocol.py").write_text("OWN = True\n")
    (bot / "bot.py").write_text(BOT)
    done = subprocess.run(
        [str(python), "bot.py"], cwd=bot, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
