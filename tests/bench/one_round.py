"""One round of a stage in whichever checkout it is run, without rivals. Prints its figures as JSON.

`against.py` gives this text to a Python whose working directory is a checkout, this one or another.
So it must not use anything that older checkouts lack: what it asks of a stage, it asks by name.

    python -c "$(cat tests/bench/one_round.py)" STAGE small|whole
"""

import json
import sys
from importlib import import_module
from pathlib import Path

import msgspec

OURS = "fanout"
KEPT_RIVAL = "unix socket pair"
"""The stage shm compares with the quickest rival, and so cannot do without one."""

name = "tests.bench." + sys.argv[1].replace("-", "_")
try:
    stage = import_module(name)
except ModuleNotFoundError as error:
    if error.name is None or not f"{name}.".startswith(f"{error.name}."):
        raise
    sys.exit(f"there is no {name}: {error}")
if not Path(stage.__file__ or "").is_relative_to(Path.cwd()):
    sys.exit(f"there is no {name}; one was imported from {stage.__file__}")
for table in ("CONTENDERS", "SERVICES", "RIVALS"):
    names = getattr(stage, table, {})
    if names and table != "RIVALS":
        setattr(stage, table, {name: names[name] for name in names if name.startswith(OURS)})
    elif KEPT_RIVAL in names:
        setattr(stage, table, {KEPT_RIVAL: names[KEPT_RIVAL]})
for rounds in ("ROUNDS", "GOAL_ROUNDS"):
    if hasattr(stage, rounds):
        setattr(stage, rounds, 1)
if hasattr(getattr(stage, "WHOLE", None), "rounds"):
    stage.WHOLE = msgspec.structs.replace(stage.WHOLE, rounds=1)

rows = stage.run(small=sys.argv[2] == "small")
print(json.dumps({row.name: [row.value, row.unit] for row in rows if hasattr(row, "value")}))
