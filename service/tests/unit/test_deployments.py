"""The manifests of Kubernetes: restricted pods that have the time to stop, and rules up to date."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from myservice.config import Config
from paceline.auth import secret_weakness
from paceline.config import parse_duration

DEPLOYMENTS = Path(__file__).parents[2] / "deployments"
KUBERNETES = DEPLOYMENTS / "kubernetes"
DEFAULTS = {name: field.default for name, field in Config.model_fields.items()}
Manifest = dict[str, Any]


def documents(folder: Path) -> Iterator[Manifest]:
    for path in sorted(folder.glob("*.yaml")):
        yield from yaml.safe_load_all(path.read_text())


def shared_settings() -> dict[str, str]:
    """What the ConfigMap says."""
    kustomization = yaml.safe_load((KUBERNETES / "base/kustomization.yaml").read_text())
    [generator] = kustomization["configMapGenerator"]
    return dict(line.split("=", 1) for line in generator["literals"])


PODS = {
    one["metadata"]["name"]: one["spec"]["template"]["spec"]
    for one in documents(KUBERNETES / "base")
    if one["kind"] in {"Deployment", "Job"}
}
POD = pytest.mark.parametrize("pod", PODS.values(), ids=PODS)


def settings_of(container: Manifest) -> dict[str, str]:
    return {**shared_settings(), **{one["name"]: one["value"] for one in container.get("env", ())}}


def seconds(settings: dict[str, str], name: str) -> float:
    """A duration, as the pod has it."""
    given = settings.get(f"APP_{name.upper()}")
    return float(DEFAULTS[name]) if given is None else parse_duration(given)


@POD
def test_a_pod_meets_the_restricted_profile_of_pod_security(pod: Manifest) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & pod.keys()
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert not any("hostPort" in port for port in container.get("ports", ()))


@POD
def test_a_pod_has_neither_a_token_of_the_cluster_nor_variables_of_its_services(
    pod: Manifest,
) -> None:
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False


@POD
def test_a_pod_says_what_it_needs_and_how_much_memory_it_may_have(pod: Manifest) -> None:
    for container in pod["containers"]:
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert "memory" in container["resources"]["limits"]


@POD
def test_a_pod_is_not_killed_before_it_had_the_time_to_stop(pod: Manifest) -> None:
    for container in pod["containers"]:
        if container["args"][0] in {"serve", "worker"}:
            settings = settings_of(container)
            needed = sum(
                seconds(settings, name)
                for name in ("drain_delay", "keep_alive_grace", "shutdown_timeout")
            )
            assert pod["terminationGracePeriodSeconds"] >= needed + 5


def test_a_load_balancer_has_two_checks_and_a_connection_its_age_before_accepting_ends() -> None:
    [server] = PODS["myservice"]["containers"]
    drain = seconds(settings_of(server), "drain_delay")
    assert drain >= 2 * server["readinessProbe"]["periodSeconds"]
    assert drain > seconds(settings_of(server), "grpc_connection_age")  # paceline: only grpc


@POD
def test_probes_ask_ports_that_the_container_has(pod: Manifest) -> None:
    for container in pod["containers"]:
        ports = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            if ports:
                assert container[name]["httpGet"]["port"] in ports
        defaults = {"http": "port", "grpc": "grpc_port", "admin": "admin_port"}
        for name, port in ports.items():
            assert port == DEFAULTS[defaults[name]]


def test_a_selector_finds_the_pods_of_its_workload() -> None:
    for one in documents(KUBERNETES / "base"):
        if one["kind"] == "Deployment":
            wanted = one["spec"]["selector"]["matchLabels"]
            assert wanted.items() <= one["spec"]["template"]["metadata"]["labels"].items()


def test_settings_of_the_manifests_are_settings_of_the_service() -> None:
    named = set(shared_settings())
    for pod in PODS.values():
        for container in pod["containers"]:
            named |= settings_of(container).keys()
    assert {name.removeprefix("APP_").lower() for name in named} <= DEFAULTS.keys()


def test_every_manifest_is_part_of_the_base_or_of_the_monitoring() -> None:
    for folder in ("base", "monitoring"):
        kustomization = yaml.safe_load((KUBERNETES / folder / "kustomization.yaml").read_text())
        files = {path.name for path in (KUBERNETES / folder).glob("*.yaml")}
        assert {*kustomization["resources"], "kustomization.yaml"} == files


def test_the_rules_of_the_operator_are_those_of_prometheus() -> None:
    rules = yaml.safe_load((KUBERNETES / "monitoring/rules.yaml").read_text())
    alerts = yaml.safe_load((DEPLOYMENTS / "prometheus/alerts.yaml").read_text())
    assert rules["spec"] == alerts, "run: make rules"


def test_the_secrets_of_compose_are_accepted_and_prometheus_has_the_same() -> None:
    compose = yaml.safe_load((DEPLOYMENTS / "compose.yaml").read_text())
    settings = compose["x-service"]["environment"]
    for name in ("APP_JWT_SECRET", "APP_ADMIN_TOKEN"):
        assert secret_weakness(settings[name].encode()) is None
    scraping = yaml.safe_load((DEPLOYMENTS / "prometheus/compose.yaml").read_text())
    for job in scraping["scrape_configs"]:
        assert job["authorization"]["credentials"] == settings["APP_ADMIN_TOKEN"]
        [target] = job["static_configs"][0]["targets"]
        assert target.partition(":")[0] in compose["services"]


def test_what_compose_sets_are_settings_of_the_service() -> None:
    compose = yaml.safe_load((DEPLOYMENTS / "compose.yaml").read_text())
    for service in compose["services"].values():
        for name in service.get("environment", {}):
            if name.startswith("APP_"):
                assert name.removeprefix("APP_").lower() in DEFAULTS
