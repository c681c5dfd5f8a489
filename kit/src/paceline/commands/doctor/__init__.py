"""A check-up: what would make a service fail, or fail its users, before it does.

Each check looks at one thing from outside and gives findings: ok, warn or fail, with what was seen
and how to mend it. Invariants: checks run beside each other, each within its own time, so a
check-up never hangs; none changes anything; no finding holds a secret. A service's ``doctor``
command chooses the checks by its settings. Read ``finding`` and ``examine``, then any check.
"""

from paceline.commands.doctor.examine import Check, blocking, examine
from paceline.commands.doctor.findings import Finding, Status, as_json, as_text, healthy

__all__ = ["Check", "Finding", "Status", "as_json", "as_text", "blocking", "examine", "healthy"]
