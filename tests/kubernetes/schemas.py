"""Judges the manifests of a folder by the schemas of Kubernetes and of the Prometheus operator; prints {file: [faults]} as JSON.

Unknown keys are faults in both: an API server would drop them without a word. The operator's models come from its CRDs and ignore
unknown keys, so what they have kept is compared with what was given.
"""

import functools
import json
import pathlib
import sys
import warnings

import kubernetes_validate
import pydantic
import yaml
from cloudcoil.models.prometheus_operator import v1 as operator

# Native sidecars came with 1.29; the other is the newest that is known.
VERSIONS = ("1.29", "1.35")
OPERATOR = {"PodMonitor": operator.PodMonitor, "PrometheusRule": operator.PrometheusRule}


def main(folder):
    warnings.simplefilter("ignore")
    verdicts = {path.name: list(faults_of_file(path)) for path in sorted(folder.glob("*.yaml"))}
    json.dump(verdicts, sys.stdout)


def faults_of_file(path):
    for thing in yaml.safe_load_all(path.read_text()):
        name = f"{thing['kind']} {thing['metadata']['name']}"
        for fault in faults_of_object(json.dumps(thing)):
            yield f"{name}: {fault}"


# Most objects are the same in every file.
@functools.cache
def faults_of_object(text):
    thing = json.loads(text)
    judge = operator_faults if thing["apiVersion"].startswith("monitoring.coreos.com/") else kubernetes_faults
    return list(judge(thing))


def kubernetes_faults(thing):
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(thing, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"Kubernetes {version}: {'.'.join(map(str, error.path))}: {error.message}"


def operator_faults(thing):
    try:
        model = OPERATOR[thing["kind"]].model_validate_json(json.dumps(thing), strict=True)
    except pydantic.ValidationError as error:
        for fault in error.errors():
            yield f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
        return
    kept = json.loads(model.model_dump_json(by_alias=True, exclude_unset=True))
    yield from lost(thing["spec"], kept["spec"], "spec")


def lost(given, kept, path):
    if isinstance(given, dict):
        for key, value in given.items():
            if key in kept:
                yield from lost(value, kept[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}: unknown key"
    elif isinstance(given, list):
        for place, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from lost(one, other, f"{path}.{place}")


main(pathlib.Path(sys.argv[1]))
