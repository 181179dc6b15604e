"""How often the agent of an idle armed process is woken: its context switches.

    python tests/benchmarks/at_rest.py [SECONDS]

Target: not once in 60 seconds. Meanwhile nobody may list armed processes: it answers.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "system" / "programs"))

from measuring import introduce, verdict
from running_services import agent_at_rest, switches  # of the line above

IDLE = "print(flush=True); input()"


def main() -> None:
    """Measure, print, and exit with 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", nargs="?", type=float, default=60)
    seconds = parser.parse_args().seconds
    introduce("Wake-ups of an agent")
    command = [sys.executable, "-c", IDLE]
    environment = {**os.environ, "GENCORE_ARM": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        process.stdout.readline()
        agent = agent_at_rest(process.pid)
        before = switches(agent)
        time.sleep(seconds)
        woken = switches(agent) - before
        process.communicate(b"\n")
    print(f"- context switches in {seconds:.0f} s: {woken}, target 0: {verdict(met=not woken)}")
    sys.exit(bool(woken))


if __name__ == "__main__":
    main()
