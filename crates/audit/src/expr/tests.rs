use super::*;
use crate::model::{Document, Limits, Syntax, read};

const POD: &str = r#"
metadata: {name: p, labels: {app: x, "a/b": c}, ready: null}
spec:
  securityContext: {runAsNonRoot: true, runAsUser: 5}
  containers:
    - name: a
      image: reg.io:5000/team/app:1.10@sha256:abc
      command: [/usr/bin/serve, --port=80, --quiet, --level, "3"]
      args: ["sh -c 'run --deep=yes'"]
      securityContext: {runAsUser: 0, capabilities: {add: [CAP_SYS_ADMIN, chown]}}
      resources: {limits: {cpu: 500m, memory: 1Gi}, requests: {cpu: 1}}
      env: [{name: A, value: "1"}, {name: B}]
"#;

fn document() -> Document {
    let mut all = Vec::new();
    read(POD, Syntax::Yaml, &Limits::default(), &mut |document| all.push(document)).expect("it is well-formed");
    all.remove(0)
}

fn test(text: &str) -> bool {
    let document = document();
    let object = document.root().expect("a root");
    let pod = document.get(object, "spec").expect("a spec");
    let item = document.items(document.get(pod, "containers").expect("containers"))[0];
    let pod_meta = document.get(object, "metadata");
    let expr = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    holds(
        &expr,
        &Scope {
            document: &document,
            object,
            item,
            here: item,
            outer: item,
            pod: Some(pod),
            pod_meta,
            cloud: None,
            budget: &Budget::new(10_000),
        },
    )
}

#[test]
fn predicates_mean_what_they_say() {
    let true_ones = [
        "name == \"a\"",
        "name != \"b\" and not name == \"b\"",
        "missing(nothing.at.all) and missing(@object.metadata.ready)",
        "nothing != \"x\"",
        "not (nothing == \"x\") and not nothing < 5",
        "effective(runAsUser) == 0 and effective(runAsNonRoot) == true",
        "cap(securityContext.capabilities.add[*]) in [\"SYS_ADMIN\", \"NET_ADMIN\"]",
        "cap(securityContext.capabilities.add[*]) == \"CHOWN\"",
        "quantity(resources.limits.cpu) < quantity(resources.requests.cpu)",
        "quantity(resources.limits.memory) == 1073741824",
        "tag(image) == \"1.10\" and digest(image) == \"sha256:abc\" and registry(image) == \"reg.io:5000\"",
        "repository(image) == \"team/app\"",
        "any(env, exists(@)) and any(env[*], name == \"B\" and missing(value))",
        "all(env[*], length(name) == 1) and none(env[*], name == \"C\") and all(none[*], name == 1)",
        "count(env[*]) == 2 and count(nothing[*]) == 0",
        "flag(\"--port\") == \"80\" and number(flag(\"--port\")) >= 80",
        "flag(\"--quiet\") == \"true\" and flag(\"--level\") == \"3\" and flag(\"--deep\") == \"yes\"",
        "missing(flag(\"--lev\")) and program(\"serve\") and not program(\"serv\")",
        "matches(image, \"^reg[.]io\") and starts(image, [\"x\", \"reg\"]) and ends(image, \"abc\") and contains(image, \"/team/\")",
        "split(image, \"/\") == \"team\" and lower(\"ABC\") == \"abc\"",
        "keys(@object.metadata.labels) == \"a/b\" and @podmeta.labels[\"a/b\"] == \"c\" and @pod.containers[0].name == \"a\"",
        "any(env[*], @item.name == \"a\") and @object.metadata.labels[*] == \"x\"",
        "exists(without(env[*].name, [\"A\"])) and missing(without(env[*].name, [\"A\", \"B\"]))",
        "name == \"x\" or name == \"y\" or name == \"a\"",
        "any(env, any(@item.env, name < @outer.name or name != @outer.name)) and any(env, @outer.name == \"a\")",
    ];
    for text in true_ones {
        assert!(test(text), "{text}");
    }
    for text in
        ["name == true", "name < 5", "env[*].value == 1", "any(nothing[*], name == 1)", "exists(env[7])", "\"a\" in []"]
    {
        assert!(!test(text), "{text}");
    }
}

#[test]
fn a_spent_budget_ends_evaluation() {
    let document = document();
    let object = document.root().expect("a root");
    let budget = Budget::new(30);
    let scope = Scope {
        document: &document,
        object,
        item: object,
        here: object,
        outer: object,
        pod: None,
        pod_meta: None,
        cloud: None,
        budget: &budget,
    };
    let expr = parse("metadata.labels.app == \"x\"").expect("a predicate");
    assert!(holds(&expr, &scope) && !budget.is_spent());
    while holds(&expr, &scope) {}
    assert!(budget.is_spent());
}

#[test]
fn mistakes_name_the_place_and_what_was_expected() {
    let cases = [
        ("name ==", "at character 8: expected a path, found the end"),
        ("name = 1", "at character 6: expected a comparison (==, !=, <, <=, >, >=, in), found `=`"),
        ("upper(name) == \"A\"", "at character 1: expected a function, found `upper`"),
        ("name == \"a", "at character 9: a text that does not end"),
        ("name == 1 name", "at character 11: expected `and`, `or` or the end, found `name`"),
        ("a[x] == 1", "at character 3: expected `*`, an index or a key in quotes, found `x`"),
        ("a # b", "at character 3: `#` has no meaning here"),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text).expect_err(text).to_string(), expected, "{text}");
    }
    assert!(parse("matches(a, \"(\")").expect_err("a bad pattern").what.contains("regular expression"));
    assert!(parse(&("(".repeat(100_000) + "a == 1")).expect_err("deep").what.contains("levels"));
    for cut in 0.."any(a[*], b in [1, \"x\"] and not (c <= -1.5))".len() {
        let _ = parse(&"any(a[*], b in [1, \"x\"] and not (c <= -1.5))"[..cut]);
    }
}

#[test]
fn a_finding_is_placed_at_the_first_path() {
    let path = |text: &str| parse(text).expect(text).first_path().cloned();
    assert_eq!(path("not exists(a.b) or c == 1"), parse_path("a.b").ok());
    assert_eq!(path("program(\"x\") and effective(d) == 1"), parse_path("d").ok());
}
