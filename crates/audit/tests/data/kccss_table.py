#!/usr/bin/env python3
"""Makes the worked table of KCCSS scores: `kccss_table.py FIXTURES` writes kccss-workloads.yaml and kccss-table.tsv beside itself.

Independent of the program: the vectors come from the rule files of KCCSS and kube-scan, the conditions and the arithmetic are
written here once more. A line is: workload, rule set, score, category, rules that hold.
"""
import glob
import json
import math
import os
import sys

import yaml

C = {"High": 0.56, "Low": 0.22, "None": 0.0}
AV = {"Remote": 0.85, "Local": 0.55}
E = {"High": 0.54, "Moderate": 0.4, "Low": 0.1, "Very Low": 0.05, "VeryLow": 0.05}
S = {"None": 0.25, "Host": 1, "Cluster": 1}
LEVEL = ["None", "Low", "High"]


def item(c, i, a, av, s, e):
    impact = S[s] * 4 * (1 - (1 - C[c]) * (1 - C[i]) * (1 - C[a]))
    return min(10, max(0, math.floor((impact + 9 * AV[av] * E[e]) * 10 + 0.5) / 10))


def minus(x, y):
    if y == "None":
        return x
    return "Low" if (x, y) == ("High", "Low") else "None"


def kccss(root):
    risks, rems = {}, {}
    for path in sorted(glob.glob(os.path.join(root, "kccss/rules/**/*.yaml"), recursive=True)):
        with open(path, encoding="utf-8") as file:
            rule = yaml.safe_load(file)
        impact = lambda key, rule=rule: (rule.get(key) or {}).get("impact")
        scope = {"Container": "None"}.get(impact("scope"), impact("scope"))
        values = (impact("confidentiality"), impact("integrity"), impact("availability"), impact("attackVector"), scope)
        (risks if rule["type"] == "risk" else rems)[rule["id"]] = values + (impact("exploitability"),)
    return risks, rems, (3, 7)


def kube_scan(root):
    with open(os.path.join(root, "kube-scan/kube-scan.yaml"), encoding="utf-8") as file:
        config = [doc for doc in yaml.safe_load_all(file) if doc and doc["kind"] == "ConfigMap"][0]
    config = yaml.safe_load(config["data"]["risk-config.yaml"])
    pick = lambda key: {r["name"]: (r["confidentiality"], r["integrity"], r["availability"], r["attackVector"], r["scope"],
                                    r.get("exploitability")) for r in config[key]}
    return pick("basic"), pick("remediation"), (3, 6)


NAMES = {  # condition: (KCCSS, kube-scan)
    "privileged": ("K-1", "privileged"), "root": ("K-2", "runningAsRoot"), "escalation": ("K-3", "AllowPrivilegeEscalation"),
    "netraw": ("K-4", "CapNetRaw"), "proc": ("K-6", "UnmaskedProcMount"), "sysctl": ("K-7", "AllowedUnsafeSysctls"),
    "limits": ("K-8", "notConfiguredCpuOrMemoryLimit"), "osrw": ("K-9", "mountingOSDirectoryRW"), "osro": ("K-10", "mountingOSDirectoryRO"),
    "sysadmin": ("K-11", "capSysAdmin"), "lb": ("K-12", "ExposedByLoadBalancer"), "np": ("K-13", "ExposedByNodePort"),
    "ing": ("K-14", "ExposedByIngress"), "hostport": ("K-15", "HostPort"), "hostnet": ("K-16", "ShareHostNetwork"),
    "hostpid": ("K-17", "ShareHostPID"), "hostipc": ("K-18", "ShareHostIPC"), "secrets": ("K-19", None), "pods": ("K-20", None),
    "env": ("K-21", None), "default": ("K-22", None), "shared": ("K-23", None), "pvc": ("K-24", None), "crd": ("CRD-1", None),
    "tiller": ("Helm-1", None), "writable": (None, "WritableFileSystem"),
    "seccomp": ("R-1", "seccomp"), "selinux": ("R-2", "selinux"), "pin": ("R-3", "IngressPolicy"), "pout": ("R-4", "EgressPolicy"),
    "noport": ("R-5", "notListeningToContainerPorts"), "readonly": ("R-6", None), "istio": ("R-Istio-1", "instrumentedByIstio"),
    "octarine": ("R-Octarine-1", "instrumentedByOctarine"),
}


def holds(w):
    """Conditions of a workload, from the switches that it was made by."""
    found = set(w) & set(NAMES)
    if "privileged" in w or "drop" not in w:
        found.add("netraw")
    if "user" not in w:
        found.add("root")
    if "quota" not in w:
        found.add("limits")
    if "port" not in w and "hostport" not in w:
        found.add("noport")
    if "readonly" not in w:
        found.add("writable")
    return found


def score(w, rules, column):
    risks, rems, limits = rules
    names = {NAMES[c][column] for c in holds(w)} - {None}
    reduce = [rems[n] for n in names if n in rems]
    items = []
    for name in names:
        if name not in risks:
            continue
        c, i, a, av, s, e = risks[name]
        same = [r for r in reduce if r[4] == s]
        top = lambda axis, same=same: max((r[axis] for r in same), key=LEVEL.index, default="None")
        items.append((av, s, item(minus(c, top(0)), minus(i, top(1)), minus(a, top(2)), av, s, e)))
    box = {}
    for av, s, value in sorted(items, key=lambda it: it[1] == "None"):
        far = [k for k in box if k[0] == av and k[1] != "None"]
        for key in far if s == "None" and far else [(av, s)]:
            box[key] = max(box.get(key, 0), value)
    total = math.floor(min(10, math.sqrt(sum(v * v for v in box.values()))) + 0.5)
    word = "Low" if total <= limits[0] else "Medium" if total <= limits[1] else "High"
    return total, word, ",".join(sorted(names))


def manifest(number, w):
    name, space = f"w{number}", "default" if "default" in w else f"space-{number}"
    ctx = {}
    if "privileged" in w: ctx["privileged"] = True
    if "escalation" in w: ctx["allowPrivilegeEscalation"] = True
    if "proc" in w: ctx["procMount"] = "Unmasked"
    if "user" in w: ctx["runAsUser"] = 1000
    if "readonly" in w: ctx["readOnlyRootFilesystem"] = True
    if "sysadmin" in w or "drop" in w:
        ctx["capabilities"] = {k: v for k, v in (("add", ["SYS_ADMIN"] if "sysadmin" in w else None), ("drop", ["ALL"] if "drop" in w else None)) if v}
    box = {"name": "istio-proxy" if "istio" in w else "app",
           "image": "octarinesec/microservice-proxy:1" if "octarine" in w else "ghcr.io/helm/tiller:v2.17.0" if "tiller" in w else "app:1",
           "securityContext": ctx}
    if "quota" in w: box["resources"] = {"limits": {"cpu": 1, "memory": "1Gi"}}
    if "hostport" in w: box["ports"] = [{"containerPort": 80, "hostPort": 8080}]
    elif "port" in w: box["ports"] = [{"containerPort": 80}]
    if "env" in w: box["env"] = [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "s", "key": "t"}}}]
    pod, volumes, mounts = {"containers": [box], "serviceAccountName": name}, [], []
    for switch, path, ro in (("osrw", "/etc", False), ("osro", "/var/log", True)):
        if switch in w:
            volumes.append({"name": switch, "hostPath": {"path": path}})
            mounts.append({"name": switch, "mountPath": "/" + switch, "readOnly": ro})
    if "pvc" in w: volumes.append({"name": "v", "persistentVolumeClaim": {"claimName": "c"}})
    if volumes: pod["volumes"] = volumes
    if mounts: box["volumeMounts"] = mounts
    for switch, key in (("hostnet", "hostNetwork"), ("hostpid", "hostPID"), ("hostipc", "hostIPC")):
        if switch in w: pod[key] = True
    security = {}
    if "sysctl" in w: security["sysctls"] = [{"name": "net.core.somaxconn", "value": "1"}]
    if "seccomp" in w: security["seccompProfile"] = {"type": "RuntimeDefault"}
    if "selinux" in w: security["seLinuxOptions"] = {"level": "s0:c1,c2"}
    if security: pod["securityContext"] = security
    labels = {"app": name}
    meta = lambda n: {"name": n, "namespace": space}
    docs = [{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta(name),
             "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}}]
    if "shared" in w:
        other = json.loads(json.dumps(docs[0]))
        other["metadata"]["name"] = other["spec"]["template"]["metadata"]["labels"]["app"] = other["spec"]["selector"]["matchLabels"]["app"] = "twin-" + name
        docs.append(other)
    for switch, kind in (("lb", "LoadBalancer"), ("np", "NodePort"), ("ing", "ClusterIP")):
        if switch in w:
            docs.append({"apiVersion": "v1", "kind": "Service", "metadata": meta(f"{name}-{switch}"), "spec": {"type": kind, "selector": labels}})
    if "ing" in w:
        docs.append({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta(name), "spec": {"rules": [
            {"http": {"paths": [{"path": "/", "backend": {"service": {"name": f"{name}-ing", "port": {"number": 80}}}}]}}]}})
    for switch, key, end in (("pin", "ingress", "from"), ("pout", "egress", "to")):
        if switch in w:
            docs.append({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta(f"{name}-{switch}"),
                         "spec": {"podSelector": {"matchLabels": labels}, key: [{end: [{"podSelector": {}}]}]}})
    for switch, resource, verb in (("secrets", "secrets", "list"), ("pods", "pods", "create")):
        if switch in w:
            role = f"{name}-{switch}"
            docs.append({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta(role),
                         "rules": [{"apiGroups": [""], "resources": [resource], "verbs": [verb]}]})
            docs.append({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta(role),
                         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
                         "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": space}]})
    if "crd" in w:
        docs.append({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things.example.com"}})
    return docs


GOOD = {"drop", "user", "quota"}
TABLE = [set(), GOOD, GOOD | {"readonly"}, GOOD | {"port"}] + [GOOD | {switch} for switch in (
    "privileged", "escalation", "proc", "sysctl", "osrw", "osro", "sysadmin", "hostnet", "hostpid", "hostipc", "secrets", "pods", "env",
    "default", "shared", "pvc", "crd", "tiller", "hostport")] + [GOOD | {"port"} | extra for extra in (
    {"lb"}, {"np"}, {"ing"}, {"lb", "np"}, {"lb", "pin"}, {"np", "pin", "pout"}, {"ing", "istio"}, {"lb", "octarine"}, {"np", "hostnet"},
    {"lb", "hostnet", "seccomp"}, {"tiller", "pout"}, {"lb", "tiller"})] + [
    {"privileged", "seccomp"}, {"privileged", "selinux"}, {"privileged", "hostpid", "hostipc", "hostnet"}, {"port", "lb", "privileged", "osrw"},
    {"readonly", "seccomp", "selinux"} | GOOD, {"readonly", "pvc"} | GOOD, {"secrets", "pods", "env", "shared"}, {"osrw", "osro", "sysadmin"},
    {"default", "hostport"}, {"port", "ing", "pin", "istio", "readonly", "seccomp"} | GOOD]


def main():
    root = sys.argv[1]
    here = os.path.dirname(os.path.abspath(__file__))
    sets = (("kccss", kccss(root), 0), ("kube-scan", kube_scan(root), 1))
    assert [len(part) for _, rules, _ in sets for part in rules[:2]] == [25, 8, 18, 7]
    with open(os.path.join(here, "kccss-workloads.yaml"), "w", encoding="utf-8") as out:
        out.write("# Made by kccss_table.py. Each workload is judged with the objects of its own case.\n")
        for number, w in enumerate(TABLE):
            out.write(f"---\n# case {number}: {' '.join(sorted(w))}\n")
            items = manifest(number, w)
            out.write(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}) + "\n")
    with open(os.path.join(here, "kccss-table.tsv"), "w", encoding="utf-8") as out:
        out.write("# workload, rule set, score, category, rules that hold; made by kccss_table.py\n")
        for number, w in enumerate(TABLE):
            for name, rules, column in sets:
                total, word, names = score(w, rules, column)
                out.write(f"w{number}\t{name}\t{total}\t{word}\t{names}\n")


main()
