//! Expressions in CEL, within bounds: their length and nesting when they are read, their steps and the size of their variables when
//! they are evaluated. The variables are those of an admission policy: `object`, `oldObject` (null), `request`, `variables`.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use cel::common::ast::{CallExpr, EntryExpr, Expr, IdedExpr, operators};
use cel::{Context, Env, Value, extensions};
use serde_json::Value as Json;

/// Bytes of an expression.
const MAX_LENGTH: usize = 16 << 10;
/// Levels of brackets in an expression.
const MAX_DEPTH: u16 = 64;
/// Parts of an expression within each other.
const MAX_TREE: usize = 160;
/// For reading an expression; only what is used of it is taken from the system.
const STACK: usize = 256 << 20;
/// Loops within loops.
const MAX_LOOPS: usize = 12;
/// Turns of loops that one evaluation may take.
const MAX_TURNS: u64 = 300_000;
/// Bytes that the value of a variable may have beyond the object's own.
const MAX_VALUE: usize = 64 << 10;
/// Before each turn of a loop; no name of CEL begins so.
const TURN: &str = "ringfort_turn";

/// Functions of CEL and of its extensions for texts and lists. Another one has no value here, which would be a finding everywhere.
const FUNCTIONS: [&str; 36] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "string",
    "int",
    "uint",
    "double",
    "bool",
    "bytes",
    "type",
    "dyn",
    "charAt",
    "indexOf",
    "lastIndexOf",
    "join",
    "lowerAscii",
    "upperAscii",
    "replace",
    "reverse",
    "split",
    "substring",
    "trim",
    "format",
    "of",
    "none",
    "ofNonZeroValue",
    "hasValue",
    "value",
    "orValue",
    "or",
    "slice",
    "flatten",
    "distinct",
    "sort",
];

/// An expression, read.
#[derive(Clone, PartialEq)]
pub struct Expression {
    tree: IdedExpr,
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expression").finish_non_exhaustive()
    }
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// In words, where it is no CEL or beyond a bound.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("an expression has at most {MAX_LENGTH} bytes, this one has {}", text.len()));
        }
        // Brackets first: a parser that goes down for each of them is not asked about a million.
        let mut open = 0_usize;
        for byte in text.bytes() {
            match byte {
                b'(' | b'[' | b'{' => open += 1,
                b')' | b']' | b'}' => open = open.saturating_sub(1),
                _ => {}
            }
            if open > usize::from(MAX_DEPTH) {
                return Err(format!("an expression has at most {MAX_DEPTH} levels"));
            }
        }
        // A long chain of operators makes a tree as deep as it is long: it is read, looked at and, if too deep, let go on a stack
        // that is large enough for the longest. Whatever leaves it is shallow.
        let read = thread::scope(|scope| {
            let reader = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || read_tree(text));
            match reader.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(result)) => result,
                Ok(Err(_)) | Err(_) => Err("this expression cannot be read".to_owned()),
            }
        });
        Ok(Self { tree: read? })
    }
}

fn read_tree(text: &str) -> Result<IdedExpr, String> {
    let parser = environment().parser().max_recursion_depth(MAX_DEPTH);
    let mut tree = parser.parse(text).map_err(|error| {
        let words = error.to_string();
        let first = words.lines().next().unwrap_or_default().trim();
        format!("expected an expression in CEL: {}", first.strip_prefix("ERROR: <input>:").unwrap_or(first))
    })?;
    let levels = depth(&tree);
    if levels > MAX_TREE {
        return Err(format!("an expression has at most {MAX_TREE} parts within each other, this one has {levels}"));
    }
    meter(&mut tree, 0)?;
    Ok(tree)
}

/// How many parts stand within each other; a chain of operators counts with its length.
fn depth(tree: &IdedExpr) -> usize {
    let of = |parts: &[&IdedExpr]| parts.iter().map(|part| depth(part)).max().unwrap_or(0);
    let entry = |entry: &EntryExpr| match entry {
        EntryExpr::StructField(field) => depth(&field.value),
        EntryExpr::MapEntry(entry) => of(&[&entry.key, &entry.value]),
    };
    1 + match &tree.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => 0,
        Expr::Call(call) => {
            call.target.iter().map(|target| depth(target)).chain(call.args.iter().map(depth)).max().unwrap_or(0)
        }
        Expr::List(list) => list.elements.iter().map(depth).max().unwrap_or(0),
        Expr::Select(select) => depth(&select.operand),
        Expr::Map(map) => map.entries.iter().map(|one| entry(&one.expr)).max().unwrap_or(0),
        Expr::Struct(made) => made.entries.iter().map(|one| entry(&one.expr)).max().unwrap_or(0),
        Expr::Comprehension(loops) => {
            of(&[&loops.iter_range, &loops.accu_init, &loops.loop_cond, &loops.loop_step, &loops.result])
        }
    }
}

fn environment() -> &'static Arc<Env> {
    static ENVIRONMENT: OnceLock<Arc<Env>> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let mut env = Env::stdlib();
        for extension in [extensions::strings, extensions::lists] {
            env.add_extension(extension).expect("each is added once");
        }
        Arc::new(env)
    })
}

/// Puts the counting of turns into every loop.
fn meter(tree: &mut IdedExpr, loops: usize) -> Result<(), String> {
    let mut each = |tree: &mut IdedExpr| meter(tree, loops);
    match &mut tree.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Ok(()),
        Expr::Call(call) => {
            // Operators have names like `_==_`, `!_` and `@in`.
            let is_operator = !call.func_name.starts_with(|first: char| first.is_ascii_alphabetic());
            if !is_operator && !FUNCTIONS.contains(&call.func_name.as_str()) {
                return Err(format!(
                    "`{}` is no function that a scan has; there are {}",
                    call.func_name,
                    FUNCTIONS.join(", ")
                ));
            }
            if let Some(target) = &mut call.target {
                each(target)?;
            }
            call.args.iter_mut().try_for_each(each)
        }
        Expr::List(list) => list.elements.iter_mut().try_for_each(each),
        Expr::Select(select) => each(&mut select.operand),
        Expr::Map(map) => map.entries.iter_mut().try_for_each(|entry| entry_of(&mut entry.expr, &mut each)),
        Expr::Struct(made) => made.entries.iter_mut().try_for_each(|entry| entry_of(&mut entry.expr, &mut each)),
        Expr::Comprehension(comprehension) => {
            if loops == MAX_LOOPS {
                return Err(format!("at most {MAX_LOOPS} loops (all, exists, map, filter) stand within each other"));
            }
            each(&mut comprehension.iter_range)?;
            each(&mut comprehension.accu_init)?;
            for inner in [&mut comprehension.loop_cond, &mut comprehension.loop_step, &mut comprehension.result] {
                meter(inner, loops + 1)?;
            }
            let id = comprehension.loop_cond.id;
            let turn = CallExpr { func_name: TURN.to_owned(), target: None, args: Vec::new() };
            let condition = std::mem::take(&mut comprehension.loop_cond);
            comprehension.loop_cond = IdedExpr {
                id,
                expr: Expr::Call(CallExpr {
                    func_name: operators::LOGICAL_AND.to_owned(),
                    target: None,
                    args: vec![IdedExpr { id, expr: Expr::Call(turn) }, condition],
                }),
            };
            Ok(())
        }
    }
}

fn entry_of(entry: &mut EntryExpr, each: &mut dyn FnMut(&mut IdedExpr) -> Result<(), String>) -> Result<(), String> {
    match entry {
        EntryExpr::StructField(field) => each(&mut field.value),
        EntryExpr::MapEntry(entry) => {
            each(&mut entry.key)?;
            each(&mut entry.value)
        }
    }
}

/// Expressions that have to hold together, with the variables that they name.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// In their order; one may name those before it.
    pub variables: Vec<(String, Expression)>,
    /// All have to be true.
    pub expressions: Vec<Expression>,
    /// The rule holds where one of them is not true, instead.
    pub negated: bool,
    /// Whether the rule holds where an expression has no value, as where a field is missing.
    pub on_error: bool,
    /// API groups of the objects that it is about; `*` is all. Others do not make it hold.
    pub groups: Vec<String>,
}

/// The outcome of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It holds.
    Holds,
    /// It does not.
    DoesNot,
    /// It took more turns than it may.
    TooLong,
}

impl Rule {
    /// Evaluates the rule on an object.
    pub fn evaluate(&self, object: &Json) -> Outcome {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let group = version.split_once('/').map_or("", |(group, _)| group);
        if !self.groups.iter().any(|known| known == "*" || known == group) {
            return Outcome::DoesNot;
        }
        let turns = Arc::new(AtomicU64::new(0));
        let result = self.all_hold(object, &turns);
        if turns.load(Ordering::Relaxed) > MAX_TURNS {
            return Outcome::TooLong;
        }
        let holds = match result {
            Some(all) => all != self.negated,
            None => self.on_error,
        };
        if holds { Outcome::Holds } else { Outcome::DoesNot }
    }

    /// Whether all expressions are true; `None` where one has no value or is no boolean.
    fn all_hold(&self, object: &Json, turns: &Arc<AtomicU64>) -> Option<bool> {
        let limit = MAX_VALUE.max(size_of(object));
        let mut context = Context::with_env(environment().clone());
        let counted = turns.clone();
        let turn = move || counted.fetch_add(1, Ordering::Relaxed) < MAX_TURNS;
        context.add_function(TURN, turn).expect("nothing else is called so");
        let value = value_of(object);
        context.add_variable_from_value("object", value.clone());
        context.add_variable_from_value("oldObject", Value::Null);
        context.add_variable_from_value("request", request(object));
        let mut known: HashMap<String, Value> = HashMap::new();
        for (name, expression) in &self.variables {
            context.add_variable_from_value("variables", Value::from(known.clone()));
            // One without a value is missing where it is named, as in a cluster, where it is only looked at then.
            if let Ok(value) = Value::resolve(&expression.tree, &context)
                && weight(&value, limit).is_some()
            {
                known.insert(name.clone(), value);
            }
        }
        context.add_variable_from_value("variables", Value::from(known));
        let mut all = Some(true);
        for expression in &self.expressions {
            match Value::resolve(&expression.tree, &context) {
                Ok(Value::Bool(true)) => {}
                Ok(Value::Bool(false)) => return Some(false),
                Ok(_) | Err(_) => all = None,
            }
        }
        all
    }
}

/// What an API server would say about the creation of the object.
fn request(object: &Json) -> Value {
    let text = |path: &str| object.pointer(path).and_then(Json::as_str).unwrap_or_default();
    let (group, version) = text("/apiVersion").split_once('/').unwrap_or(("", text("/apiVersion")));
    let kind = serde_json::json!({ "group": group, "version": version, "kind": text("/kind") });
    value_of(&serde_json::json!({
        "kind": kind,
        "requestKind": kind,
        "name": text("/metadata/name"),
        "namespace": text("/metadata/namespace"),
        "operation": "CREATE",
        "dryRun": false,
        "userInfo": { "username": "", "groups": [], "extra": {} },
    }))
}

/// JSON as CEL has it. What is null is left out, as an API server does before it asks a policy.
fn value_of(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::String(Arc::new(text.clone())),
        Json::Array(items) => Value::List(Arc::new(items.iter().map(value_of).collect())),
        Json::Object(entries) => {
            let entries = entries.iter().filter(|(_, value)| !value.is_null());
            Value::from(entries.map(|(key, value)| (key.clone(), value_of(value))).collect::<HashMap<_, _>>())
        }
    }
}

fn size_of(json: &Json) -> usize {
    match json {
        Json::String(text) => text.len(),
        Json::Array(items) => items.len() + items.iter().map(size_of).sum::<usize>(),
        Json::Object(entries) => entries.iter().map(|(key, value)| key.len() + size_of(value)).sum(),
        Json::Null | Json::Bool(_) | Json::Number(_) => 1,
    }
}

/// What is left of `limit` after the value; `None` where it is more than that.
fn weight(value: &Value, limit: usize) -> Option<usize> {
    let left = limit.checked_sub(1)?;
    match value {
        Value::String(text) => left.checked_sub(text.len()),
        Value::List(items) => items.iter().try_fold(left, |left, item| weight(item, left)),
        Value::Map(map) => map.map.values().try_fold(left, |left, value| weight(value, left)),
        _ => Some(left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(expression: &str) -> Rule {
        let expressions = vec![Expression::parse(expression).expect("CEL")];
        Rule { variables: Vec::new(), expressions, negated: false, on_error: false, groups: vec!["*".to_owned()] }
    }

    fn holds(expression: &str) -> bool {
        let object = serde_json::json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "labels": { "a/b": "c" } },
            "spec": { "hostPID": null, "containers": [{ "name": "x", "ports": [{ "containerPort": 80 }] }, { "name": "y" }] } });
        rule(expression).evaluate(&object) == Outcome::Holds
    }

    #[test]
    fn expressions_see_the_object_and_the_request() {
        for expression in [
            "object.spec.containers.all(c, c.name in ['x', 'y'])",
            "!has(object.spec.hostPID) && request.operation == 'CREATE' && request.kind.kind == 'Pod'",
            "oldObject == null",
            "object.spec.?hostPID.orValue(false) == false",
            "object.metadata.labels['a/b'].upperAscii() == 'C'",
            "object.spec.containers.exists(c, has(c.ports) && c.ports.exists(p, p.containerPort < 1024))",
            "object.spec.containers.map(c, c.name).join('-') == 'x-y'",
        ] {
            assert!(holds(expression), "{expression}");
        }
        assert!(!holds("object.spec.hostPID"), "what is missing has no value");
        assert!(!holds("object.metadata.name"), "a text is no boolean");
    }

    #[test]
    fn what_is_no_cel_or_too_deep_or_too_long_is_refused() {
        for (text, words) in [
            ("object.".to_owned(), "expected an expression in CEL: 1:8: "),
            (format!("{}1{} == 1", "(".repeat(100), ")".repeat(100)), "64 levels"),
            (format!("{}1", "(".repeat(10_000)), "64 levels"),
            ("a".repeat(20_000), "at most 16384 bytes"),
            ("quantity('1') == 1".to_owned(), "`quantity` is no function that a scan has; there are size, "),
            (format!("1{} == 1", " + 1".repeat(4_000)), "within each other"),
            (format!("a{}", ".a".repeat(8_000)), "within each other"),
            (format!("true{}", " && true".repeat(2_000)), ""),
            (format!("{}true", "!".repeat(10_000)), ""),
            (format!("true{}", " ? true : true".repeat(1_000)), ""),
        ] {
            if let Err(error) = Expression::parse(&text) {
                assert!(error.contains(words), "{error}");
            } else {
                assert!(words.is_empty(), "{}", &text[..20]);
            }
        }
        // As deep as may be, and evaluated on the small stack of a thread.
        assert!(holds(&format!("1{} == 151", " + 1".repeat(150))));
        let nested = (0..20).fold("true".to_owned(), |inner, at| format!("[1].all(x{at}, {inner})"));
        assert!(Expression::parse(&nested).expect_err("too many").contains("loops"));
    }

    #[test]
    fn loops_end_when_their_turns_are_used_up() {
        let list = serde_json::json!({ "apiVersion": "v1", "items": (0..500).collect::<Vec<_>>() });
        let slow = rule("object.items.all(a, object.items.all(b, object.items.all(c, a + b + c >= 0)))");
        assert_eq!(slow.evaluate(&list), Outcome::TooLong);
        let fine = rule("object.items.all(a, object.items.exists(b, b == 3))");
        assert_eq!(fine.evaluate(&list), Outcome::Holds);
    }

    #[test]
    fn a_variable_that_grows_beyond_its_bound_is_missing() {
        let double = |of: &str| Expression::parse(&format!("{of} + {of}")).expect("CEL");
        let mut rule = rule("size(variables.v40) > 0");
        rule.variables.push(("v0".to_owned(), Expression::parse("'0123456789'").expect("CEL")));
        rule.variables.extend((1..=40).map(|at| (format!("v{at}"), double(&format!("variables.v{}", at - 1)))));
        assert_eq!(rule.evaluate(&serde_json::json!({ "apiVersion": "v1" })), Outcome::DoesNot);
    }
}
