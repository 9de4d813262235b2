#!/usr/bin/env python3
"""kubesec's points of every fixture, computed from the table of points alone: `kubesec_points.py FIXTURES/kubesec`.

Independent of the program: it reads YAML by PyYAML and walks plain dictionaries. A line is: file, number of the document, score,
rules that counted. `-` for a file that cannot be read.
"""
import os
import re
import sys

import yaml

PODS = ["Pod", "Deployment", "StatefulSet", "DaemonSet"]


def dig(value, *keys):
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def rows(value, key):
    found = dig(value, key)
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def judge(doc):
    kind = doc.get("kind")
    spec = doc.get("spec") or {}
    pod = spec if kind == "Pod" else dig(spec, "jobTemplate", "spec", "template", "spec") if kind == "CronJob" else dig(spec, "template", "spec")
    pod = pod if isinstance(pod, dict) else {}
    main = rows(pod, "containers")
    containers = rows(pod, "initContainers") + main + rows(pod, "ephemeralContainers")

    def own(*keys):
        return [dig(c, "securityContext", *keys) for c in containers]

    def both(typ, *keys):
        above = dig(pod, "securityContext", *keys)
        return [value if isinstance(value, typ) else above if isinstance(above, typ) else None for value in own(*keys)]

    def number(value):
        return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 10000

    paths = [str(dig(v, "hostPath", "path")) for v in rows(pod, "volumes")]
    claims = [c["spec"] for c in rows(spec, "volumeClaimTemplates") if c.get("spec") is not None]
    secrets = any(dig(e, "valueFrom", "secretKeyRef") for c in containers for e in rows(c, "env")) or any(
        e.get("secretRef") for c in containers for e in rows(c, "envFrom"))
    rules = {
        "HostNetwork": (-9, pod.get("hostNetwork") is True), "HostPID": (-9, pod.get("hostPID") is True),
        "HostIPC": (-9, pod.get("hostIPC") is True), "ReadOnlyRootFilesystem": (1, True in [v for v in own("readOnlyRootFilesystem") if v is True]),
        "RunAsNonRoot": (1, any(v is True for v in both(bool, "runAsNonRoot"))),
        "RunAsUser": (1, any(number(v) for v in both((int, float), "runAsUser"))),
        "RunAsGroup": (1, any(number(v) for v in both((int, float), "runAsGroup"))),
        "Privileged": (-30, any(v is True for v in own("privileged"))),
        "CapSysAdmin": (-30, any("SYS_ADMIN" in str(v) for v in own("capabilities", "add"))),
        "CapDropAny": (1, any(isinstance(v, list) and v for v in own("capabilities", "drop"))),
        "CapDropAll": (1, any("ALL" in str(v).upper() for v in own("capabilities", "drop") if v is not None)),
        "DockerSock": (-9, any("/var/run/docker.sock" in p for p in paths)), "ProcMount": (-9, any("/proc" in p for p in paths)),
        "ServiceAccountName": (3, pod.get("serviceAccountName") is not None), "HostAliases": (-3, pod.get("hostAliases") is not None),
        "AllowPrivilegeEscalation": (-7, any(v is True for v in own("allowPrivilegeEscalation"))),
        "AutomountServiceAccountToken": (1, pod.get("automountServiceAccountToken") is False), "HostUsers": (1, pod.get("hostUsers") is False),
    }
    for what in ("requests", "limits"):
        for res in ("cpu", "memory"):
            name = what.capitalize() + ("CPU" if res == "cpu" else "Memory")
            rules[name] = (1, any(dig(c, "resources", what, res) is not None for c in main))
    for name, key, plus in (("Seccomp", "seccompProfile", 1), ("Apparmor", "appArmorProfile", 3)):
        types = [v for v in both(str, key, "type") if v is not None]
        rules[name + "Any"] = (plus, any(v != "Unconfined" for v in types))
        rules[name + "Unconfined"] = (-1, "Unconfined" in types)
    if kind not in PODS:
        rules = {}
    if kind == "StatefulSet":
        rules["VolumeClaimAccessModeReadWriteOnce"] = (1, not claims or any(dig(c, "accessModes") == ["ReadWriteOnce"] for c in claims))
        rules["VolumeClaimRequestsStorage"] = (1, not claims or any(dig(c, "resources", "requests", "storage") for c in claims))
    if kind in PODS + ["ReplicaSet", "Job", "CronJob"]:
        rules["SecretsAsEnvironmentVariables"] = (-5, secrets)
    if kind in ("RoleBinding", "ClusterRoleBinding"):
        rules["BindingsToSystemAnonymous"] = (-30, any("system:anonymous" in str(s.get("name")) for s in rows(doc, "subjects")))
    counted = {name: points for name, (points, holds) in rules.items() if holds}
    return sum(counted.values()), sorted(counted)


def main():
    folder = sys.argv[1]
    print("# file, document, score, rules that counted; made by kubesec_points.py")
    for name in sorted(os.listdir(folder)):
        if name == "LICENSE":
            continue
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            text = file.read()
        try:
            docs = [doc for doc in yaml.safe_load_all(text) if doc is not None]
        except yaml.YAMLError:
            docs = []
        docs = [doc for doc in docs if isinstance(doc, dict) and doc.get("kind")]
        if not docs:
            print(f"{name}\t-\t-\t")
        for number, doc in enumerate(docs):
            score, counted = judge(doc)
            print(f"{name}\t{number}\t{score}\t{','.join(counted)}")


main()
