"""The checks that ``doctor`` runs for this service: NATS with the stream and consumer of orders."""

from collections.abc import Mapping
from functools import partial

import msgspec

from myservice.config import Config
from myservice.repository.payments import CONSUMER
from myservice.worker.orders import ORDERS_STREAM
from paceline.commands.doctor import Check, DoctorRun, check_nats


def checks(config: Config, run: DoctorRun) -> Mapping[str, Check]:
    """The checks by name; "nats" replaces the kit's, which knows no stream of the service."""
    if config.nats_url is None:
        return {}
    replicas = config.nats_replicas
    stream = msgspec.structs.replace(ORDERS_STREAM, replicas=replicas)
    return {
        "nats": partial(
            check_nats,
            config.get_nats_url(),
            run,
            consumers={CONSUMER: stream},
            replicas=replicas,
        )
    }
