"""Runs a program and writes what it cost, as JSON: wall and CPU seconds, peak memory of its largest process in bytes, exit status.

measure.py RESULT LOG PROGRAM ARGUMENTS...
"""

import json
import os
import sys
import time

result, log, *command = sys.argv[1:]
out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
begun = time.monotonic()
pid = os.posix_spawnp(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)])
_, status, usage = os.wait4(pid, 0)
wall = time.monotonic() - begun
with open(result, "w") as f:
    cpu = usage.ru_utime + usage.ru_stime
    json.dump({"wall": wall, "cpu": cpu, "peak": usage.ru_maxrss * 1024, "status": os.waitstatus_to_exitcode(status)}, f)
