//! `audit list`, `audit explain` and the pages in `docs/`: one of all policies, and one for each.

use std::fmt::Write as _;

use crate::policy::{Catalogue, Fix, Policy};

/// The policies that fit all of the words (in id, name, alias, category or severity), a line each.
pub fn list(catalogue: &Catalogue, words: &[String]) -> String {
    let fits = |policy: &&Policy| {
        let aliases = policy.aliases.join(" ");
        let text =
            [&policy.id, &policy.name, &aliases, &policy.category, policy.severity.name()].join(" ").to_lowercase();
        words.iter().all(|word| text.contains(&word.to_lowercase()))
    };
    let mut out = String::new();
    let mut count = 0;
    for policy in catalogue.policies().iter().filter(fits) {
        count += 1;
        let _ =
            writeln!(out, "{}  {:<8}  {:<62}  {}", policy.id, policy.severity, policy.name, policy.aliases.join(" "));
    }
    let _ = writeln!(out, "{count} of {} policies", catalogue.policies().len());
    out
}

/// Everything about the policies of this id or alias; `None` where there is none.
pub fn explain(catalogue: &Catalogue, name: &str) -> Option<String> {
    let mut out = String::new();
    for policy in catalogue.called(name) {
        let _ = writeln!(out, "{}  {}\n", policy.id, policy.name);
        let _ = writeln!(
            out,
            "severity   {}\ncategory   {}\nkinds      {}",
            policy.severity,
            policy.category,
            policy.kinds.join(", ")
        );
        if !policy.aliases.is_empty() {
            let _ = writeln!(out, "known as   {}", policy.aliases.join(", "));
        }
        let _ = writeln!(out, "looks at   {}", policy.source.each);
        if !policy.source.when.is_empty() {
            let _ = writeln!(out, "where      {}", policy.source.when);
        }
        let _ = writeln!(
            out,
            "fails if   {}\n\n{}\n\nWhat to do: {}",
            policy.source.fails, policy.message, policy.remediation
        );
        for fix in &policy.fix {
            let _ = writeln!(out, "  {}", fix_in_words(fix));
        }
        if let Some(Ok(examples)) = Catalogue::built_in_examples(&policy.id) {
            for example in &examples.all {
                let of = if examples.of == "object" { String::new() } else { format!(" (in a {})", examples.of) };
                let _ = writeln!(out, "\n{}{of}:", example.label);
                example.fragment.lines().for_each(|line| {
                    let _ = writeln!(out, "    {line}");
                });
            }
        }
        out.push('\n');
    }
    (!out.is_empty()).then_some(out)
}

/// The page of each policy in `docs/policies/`: its file's name, and its text.
pub fn pages(catalogue: &Catalogue) -> Vec<(String, String)> {
    catalogue.policies().iter().map(|policy| (format!("{}.md", policy.id), page(policy))).collect()
}

fn page(policy: &Policy) -> String {
    let mut out = format!("# {}: {}\n", policy.id, policy.name);
    let kinds = policy.kinds.iter().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(", ");
    let _ = writeln!(
        out,
        "| | |\n| --- | --- |\n| severity | {} |\n| category | {} |\n| about | {kinds} |",
        policy.severity, policy.category
    );
    if !policy.aliases.is_empty() {
        let _ = writeln!(out, "| known as | {} |", policy.aliases.join(", "));
    }
    let _ = writeln!(out, "\n**Why.** {}\n\n**What to do.** {}", policy.message, policy.remediation);
    for fix in &policy.fix {
        let _ = writeln!(out, "\n`--fix`: {}", fix_in_words(fix));
    }
    let _ = writeln!(out, "\n## When it fails\n```\neach: {}", policy.source.each);
    if !policy.source.when.is_empty() {
        let _ = writeln!(out, "when: {}", policy.source.when);
    }
    let _ = writeln!(out, "fails: {}\n```", policy.source.fails);
    if let Some(Ok(examples)) = Catalogue::built_in_examples(&policy.id) {
        for example in &examples.all {
            let of = if examples.of == "object" { String::new() } else { format!(", in a {}", examples.of) };
            let _ = writeln!(out, "\n## Example: {}{of}\n```\n{}\n```", example.label, example.fragment.trim_end());
        }
    }
    out
}

/// The page of all policies in `docs/audit-policies.md`.
pub fn markdown(catalogue: &Catalogue) -> String {
    let mut out = String::from(
        "# Policies of `ringfort audit`\n\
         Generated from the policies themselves; a test fails where this page is not what they say. Each has a page of its own with its\n\
         predicate and examples, which `ringfort audit explain ID` shows too. An alias is what another tool calls the same thing.\n",
    );
    let mut categories: Vec<_> = catalogue.policies().iter().map(|policy| policy.category.as_str()).collect();
    categories.sort_unstable();
    categories.dedup();
    let count = |prefix: &str| catalogue.policies().iter().filter(|policy| policy.id.starts_with(prefix)).count();
    let all = catalogue.policies().len();
    let (kubernetes, aws, azure, google) = (count("RF-K8S-"), count("RF-AWS-"), count("RF-AZ-"), count("RF-GCP-"));
    let _ = writeln!(
        out,
        "\n{all} policies: {kubernetes} for Kubernetes, {aws} for AWS, {azure} for Azure, {google} for Google Cloud, {} for what builds and ships.",
        all - kubernetes - aws - azure - google
    );
    for category in categories {
        let _ = writeln!(
            out,
            "\n## {category}\n| id | severity | asks for | why | what to do | aliases |\n| --- | --- | --- | --- | --- | --- |"
        );
        for policy in catalogue.policies().iter().filter(|policy| policy.category == category) {
            let cell = |text: &str| text.replace('|', "\\|");
            let _ = writeln!(
                out,
                "| [{0}](policies/{0}.md) | {1} | {2} | {3} | {4} | {5} |",
                policy.id,
                policy.severity,
                cell(&policy.name),
                cell(&policy.message),
                cell(&policy.remediation),
                policy.aliases.join(", ")
            );
        }
    }
    out
}

fn fix_in_words(fix: &Fix) -> String {
    let mut path = String::new();
    for step in &fix.path.steps {
        match step {
            crate::expr::Step::Key(key) => crate::model::push_key(&mut path, key),
            crate::expr::Step::Index(index) => crate::model::push_index(&mut path, *index),
            crate::expr::Step::Each => path.push_str("[*]"),
        }
    }
    match &fix.value {
        Some(value) => format!("set {path} to {value}"),
        None => format!("remove {path}"),
    }
}
