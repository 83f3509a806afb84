"""`fanout paper`, before any of its commands runs."""

import subprocess
import sys

from fanout.cli import trading
from fanout.trading.running import config


def test_no_command_of_fanout_waits_for_the_imports_of_trading() -> None:
    code = (
        "import sys, fanout.cli.app; "
        "print([name for name in sys.modules if name.startswith('fanout.trading')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_all_commands_have_the_directory_of_the_file() -> None:
    assert trading.DEFAULT_JOURNAL == config.DEFAULT_JOURNAL
