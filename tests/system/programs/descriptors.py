"""Stream a core into a pipe; print where the snapshot's descriptors lead while it waits."""

import json
import os
import socket
import threading
from pathlib import Path

import gencore

ends = socket.socketpair()
files = [Path("/proc/self/status").open() for _ in range(20)]  # noqa: SIM115 - kept open
reader, writer = os.pipe()
to_pipe = gencore.DestinationSpec("descriptor", options={"file": writer})
dump = gencore.start(collectors=["raw"], destination=to_pipe, backend="linux-elf")
os.read(reader, 1)  # the header is there: what is to be closed is closed
(child,) = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
links = [os.readlink(entry) for entry in Path(f"/proc/{child}/fd").iterdir()]
threading.Thread(target=lambda: dump.result() and os.close(writer)).start()
while os.read(reader, 1 << 20):
    pass
print(json.dumps({"links": links, "result": dump.result().result}))
