"""Compiles exported admission policies with Google's own CEL and evaluates them on the examples of their policies.

Argument: a JSON file, a list of {policy, variables: [{name, expression}], expression, message, cases: [{label, objects, fails}]}.
Prints how many were looked at, or fails with what is wrong. Used by tests/suite/vap.rs.
"""
import json
import re
import sys

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings

environment = cel.NewEnv(
    variables={"object": cel.Type.DYN, "variables": cel.Type.DYN},
    extensions=[ext_strings.ExtStrings()],
)


def kinds_in_lists(expression):
    """The kinds of literals in each list of literals: an API server takes only lists of one kind."""
    for items in re.findall(r' in \[((?:"(?:[^"\\]|\\.)*"|[^\]"])*)\]', expression):
        bare = re.sub(r'"(?:[^"\\]|\\.)*"', "text", items)
        words = [word.strip() for word in bare.split(",") if word.strip()]
        yield {"text" if word == "text" else "bool" if word in ("true", "false") else "number" for word in words}


problems, cases = [], 0
policies = json.load(open(sys.argv[1]))
for policy in policies:
    name = policy["policy"]
    try:
        compiled = environment.compile(policy["expression"])
        variables = [(one["name"], environment.compile(one["expression"])) for one in policy["variables"]]
    except Exception as error:
        problems.append(f"{name}: {error}")
        continue
    if compiled.return_type() not in (cel.Type.BOOL, cel.Type.DYN):
        problems.append(f"{name}: {compiled.return_type()} and no boolean")
    problems += [f"{name}: a list of {kinds}" for kinds in kinds_in_lists(policy["expression"]) if len(kinds) > 1]
    # An API server refuses these.
    if not policy["message"].strip() or "\n" in policy["message"]:
        problems.append(f"{name}: a message of one line is expected: {policy['message']!r}")
    for case in policy["cases"]:
        cases += 1
        fails = False
        for value in case["objects"]:
            known = {}
            for variable, expression in variables:
                result = expression.eval(data={"object": value, "variables": dict(known)})
                # One without a value is missing where it is named.
                if result.type() != cel.Type.ERROR:
                    known[variable] = result.plain_value()
            result = compiled.eval(data={"object": value, "variables": known}).value()
            if not isinstance(result, bool):
                problems.append(f"{name} {case['label']}: {result!r}")
            fails |= result is not True
        if fails != case["fails"]:
            problems.append(f"{name} {case['label']}: fails is {fails}")
if problems:
    sys.exit("\n".join(problems))
print(len(policies), "policies", cases, "cases")
