"""Says what is wrong with what the Helm chart renders; prints nothing and ends with 0 if nothing is.

    chart.py same CHART.yaml KUSTOMIZE.yaml   the same objects as an overlay of deploy/kubernetes, which has judges of its own
    chart.py whole CHART.yaml...              each selector finds the pod, and each name leads to an object
    chart.py config CHART.yaml FOLDER         nothing: writes the files of the ConfigMap into the folder

Labels that only the chart has are left out of the comparison, and so is the Namespace, which Helm makes by itself.
"""

import json
import pathlib
import sys

import yaml

OF_THE_CHART = {"app.kubernetes.io/instance"}
OF_OBJECTS = OF_THE_CHART | {"app.kubernetes.io/name", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "helm.sh/chart"}
# Made by the user.
SECRETS = {"wskeeper", "own-secret"}


def main(what, *paths):
    if what == "same":
        faults = differences("", *(comparable(read(path)) for path in paths))
    elif what == "whole":
        faults = (f"{path}: {fault}" for path in paths for fault in loose_ends(read(path)))
    else:
        [config] = [thing for thing in read(paths[0]) if thing["kind"] == "ConfigMap"]
        for name, text in config["data"].items():
            pathlib.Path(paths[1], name).write_text(text)
        faults = []
    faults = list(faults)
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


def read(path):
    return [thing for thing in yaml.safe_load_all(pathlib.Path(path).read_text()) if thing]


def comparable(things):
    found = {}
    for thing in things:
        labels = thing["metadata"].get("labels", {})
        thing["metadata"]["labels"] = {name: value for name, value in labels.items() if name not in OF_OBJECTS}
        found[f"{thing['kind']} {thing['metadata']['name']}"] = without(thing)
    found.pop("Namespace wskeeper", None)
    return found


def without(value):
    if isinstance(value, dict):
        return {name: without(inner) for name, inner in value.items() if name not in OF_THE_CHART}
    return [without(inner) for inner in value] if isinstance(value, list) else value


def differences(path, chart, other):
    if isinstance(chart, dict) and isinstance(other, dict):
        for name in sorted(chart.keys() | other.keys()):
            if name not in chart or name not in other:
                yield f"{path}/{name}: only {'the chart' if name in chart else 'the overlay'} has it"
            else:
                yield from differences(f"{path}/{name}", chart[name], other[name])
    elif isinstance(chart, list) and isinstance(other, list) and len(chart) == len(other):
        for place, (one, two) in enumerate(zip(chart, other)):
            yield from differences(f"{path}/{place}", one, two)
    elif chart != other or type(chart) is not type(other):
        yield f"{path}: the chart has {json.dumps(chart)}, the overlay {json.dumps(other)}"


def loose_ends(things):
    [workload] = [thing for thing in things if thing["kind"] in ("Deployment", "StatefulSet")]
    names = {kind: {thing["metadata"]["name"] for thing in things if thing["kind"] == kind} for kind in ("ConfigMap", "Secret", "Service", "ServiceAccount")}
    if len({thing["metadata"]["namespace"] for thing in things}) != 1:
        yield "more than one namespace"
    labels = workload["spec"]["template"]["metadata"]["labels"].items()
    for thing in things:
        spec = thing.get("spec", {})
        selector = spec.get("podSelector") or spec.get("selector")
        wanted = (selector or {}).get("matchLabels", selector)
        if wanted is not None and not wanted.items() <= labels:
            yield f"the {thing['kind']} {thing['metadata']['name']} does not find the pod"
        if wanted is not None and "app.kubernetes.io/instance" not in wanted:
            yield f"the {thing['kind']} {thing['metadata']['name']} finds the pods of other releases"
    pod = workload["spec"]["template"]["spec"]
    for volume in pod["volumes"]:
        if "configMap" in volume and volume["configMap"]["name"] not in names["ConfigMap"]:
            yield f"no ConfigMap {volume['configMap']['name']}"
        if "secret" in volume and volume["secret"]["secretName"] not in names["Secret"] | SECRETS:
            yield f"no Secret {volume['secret']['secretName']}"
    if pod["serviceAccountName"] not in names["ServiceAccount"]:
        yield f"no ServiceAccount {pod['serviceAccountName']}"
    if "serviceName" in workload["spec"] and workload["spec"]["serviceName"] not in names["Service"]:
        yield f"no Service {workload['spec']['serviceName']}"
    volumes = {volume["name"] for volume in pod["volumes"]} | {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
    for mount in pod["containers"][0]["volumeMounts"]:
        if mount["name"] not in volumes:
            yield f"no volume {mount['name']}"


sys.exit(main(*sys.argv[1:]))
