#!/usr/bin/env python3
"""Records Checkov's verdicts on the Kubernetes fixtures: `record_checkov.py FIXTURES > checkov-kubernetes.tsv`; on those of
infrastructure as code: `record_checkov.py FIXTURES iac > checkov-iac.tsv`; on the examples of our own policies for what builds and
ships, since there are no fixtures of that: `record_checkov.py ../../policies builds > checkov-builds.tsv` (needs PyYAML too).

Needs `checkov` (PyPI) on the path, or CHECKOV=…. A line is: file, resource, ids that failed, ids that passed. Only ids, names
and verdicts are kept.
"""
import collections
import glob
import json
import os
import re
import subprocess
import sys
import tempfile

CORPORA = ["checkov/kubernetes", "kubesec", "kubeaudit"]
IAC = ["terraform", "cloudformation", "serverless"]
CLOUDS = {"AWS": "A", "AZURE": "Z", "GCP": "G"}
# Our folder of policies: Checkov's framework, the file that an example becomes.
BUILDS = {
    "docker": ("dockerfile", "Dockerfile"),
    "github": ("github_actions", ".github/workflows/a.yaml"),
    "gitlab": ("gitlab_ci", ".gitlab-ci.yml"),
}
TOOLS = {"DOCKER": "D", "GHA": "H", "GITLABCI": "L"}


def verdicts(folder, framework="kubernetes"):
    program = os.environ.get("CHECKOV", "checkov")
    command = [program, "-d", folder, "-o", "json", "--framework", framework, "--compact"]
    out = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
    answer = json.loads(out)
    answer = answer[0] if isinstance(answer, list) else answer
    results = answer["results"]
    for verdict, key in [("F", "failed_checks"), ("P", "passed_checks"), ("S", "skipped_checks")]:
        for check in results[key]:
            yield check["file_path"].lstrip("/"), check["resource"], check["check_id"], verdict
    print(f"{folder}: {answer['summary']}", file=sys.stderr)
    sys.stderr.flush()
    verdicts.version = answer["summary"]["checkov_version"]


def short(ids):
    order = sorted(ids, key=lambda i: (i.split("_")[0], int(re.sub(r"\D", "", i.split("_")[-1]))))
    return ",".join(order).replace("CKV_K8S_", "").replace("CKV2_K8S_", "2:")


def short_iac(ids):
    """CKV_AWS_3 is A3, CKV2_AZURE_1 is 2Z1."""
    out = []
    for check in ids:
        match = re.fullmatch(r"CKV(2?)_(AWS|AZURE|GCP)_(\d+)", check)
        if match:
            out.append((match[1], CLOUDS[match[2]], int(match[3])))
    return ",".join(f"{second}{cloud}{number}" for second, cloud, number in sorted(out))


def main_iac(root):
    lines = []
    for framework in IAC:
        table = collections.defaultdict(lambda: collections.defaultdict(set))
        for file, resource, check, verdict in verdicts(os.path.join(root, "checkov", framework), framework):
            table[(file, resource)][verdict].add(check)
        for (file, resource), by in sorted(table.items()):
            failed = short_iac(by["F"])
            passed = short_iac(by["P"] - by["F"] - by["S"])
            if failed or passed:
                lines.append("\t".join([f"{framework}/{file}", resource, failed, passed]))
    print(f"# checkov {verdicts.version}; file, resource, failed, passed; A is CKV_AWS_, Z CKV_AZURE_, G CKV_GCP_, 2 before it CKV2_")
    print("\n".join(lines))


def short_builds(ids):
    """CKV_DOCKER_3 is D3, CKV2_GHA_1 is 2H1."""
    found = (re.fullmatch(r"CKV(2?)_(DOCKER|GHA|GITLABCI)_(\d+)", check) for check in ids)
    return ",".join(f"{a}{TOOLS[b]}{c}" for a, b, c in sorted((m[1], m[2], int(m[3])) for m in found if m))


def main_builds(policies):
    import yaml

    lines = []
    for kind, (framework, name) in BUILDS.items():
        with tempfile.TemporaryDirectory() as place:
            sizes = {}
            for file in sorted(glob.glob(os.path.join(policies, kind, "*.yaml"))):
                with open(file, encoding="utf-8") as text:
                    policy = yaml.safe_load(text)
                for label, example in policy["examples"].items():
                    if label != "of":
                        path = os.path.join(place, f"{policy['id']}.{label}", name)
                        os.makedirs(os.path.dirname(path))
                        with open(path, "w", encoding="utf-8") as out:
                            out.write(example)
                        sizes[f"{policy['id']}.{label}"] = len(example)
            table = collections.defaultdict(lambda: collections.defaultdict(set))
            for path, _, check, verdict in verdicts(place, framework):
                table[path.split("/")[0]][verdict].add(check)
            for example, size in sizes.items():
                by = table[example]
                failed, passed = short_builds(by["F"]), short_builds(by["P"] - by["F"] - by["S"])
                lines.append("\t".join([example, str(size), failed, passed]))
    print(f"# checkov {verdicts.version}; example, its characters, failed, passed; D is CKV_DOCKER_, H CKV_GHA_, L CKV_GITLABCI_, 2 before it CKV2_")
    print("\n".join(lines))


def main():
    root = sys.argv[1]
    if sys.argv[2:] == ["builds"]:
        return main_builds(root)
    if sys.argv[2:] == ["iac"]:
        return main_iac(root)
    lines = []
    for corpus in CORPORA:
        table = collections.defaultdict(lambda: collections.defaultdict(set))
        for file, resource, check, verdict in verdicts(os.path.join(root, corpus)):
            table[(file, resource)][verdict].add(check)
        for (file, resource), by in sorted(table.items()):
            # Two objects of one name in a file: a failure of either is a failure.
            failed = by["F"]
            skipped = by["S"] - failed
            passed = by["P"] - failed - skipped
            lines.append("\t".join([f"{corpus}/{file}", resource, short(failed), short(passed)]))
    print(f"# checkov {verdicts.version}; file, resource, failed, passed; N is CKV_K8S_N, 2:N is CKV2_K8S_N")
    print("\n".join(lines))


main()
