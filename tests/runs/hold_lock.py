"""Takes the lock of a run, says so, and holds it until standard input ends; or says why not."""

import sys

from rlsearch.runs.lock import RunInUseError, RunLock

try:
    with RunLock(sys.argv[1], lambda sentence: None, float(sys.argv[2])) as lock:
        print("held", flush=True)
        sys.stdin.read()
        lock.check()
except RunInUseError as error:
    sys.exit(f"error: {error}")
