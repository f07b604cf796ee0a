"""What several tests stand on."""

from tasks.execution import Execution

EXECUTION = Execution("cpu", "some processor", 1, "float32", "3.11.0", {"torch": "2.13.0"})
