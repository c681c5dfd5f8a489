"""What `doctor` checks of this service beyond what every service has: the queue's stream of orders.

The kit's check of NATS knows the server and the dead letters; here it also gets the durable
consumer and its stream.
"""

from collections.abc import Mapping
from functools import partial

import msgspec

from myservice.config import Config
from myservice.repository.payments import CONSUMER
from myservice.worker.orders import ORDERS
from paceline.commands.doctor import Check, DoctorRun, check_nats


def checks(config: Config, run: DoctorRun) -> Mapping[str, Check]:
    """The checks by name; "nats" takes the place of the kit's."""
    if config.nats_url is None:
        return {}
    replicas = config.nats_replicas
    stream = msgspec.structs.replace(ORDERS, replicas=replicas)
    return {
        "nats": partial(
            check_nats,
            config.get_nats_url(),
            run,
            consumers={CONSUMER: stream},
            replicas=replicas,
        )
    }
