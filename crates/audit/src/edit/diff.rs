//! A unified diff of two texts, by the shortest script (Myers, 1986).

/// The most lines that differ; above, everything counts as different.
const MOST: usize = 2_000;
const CONTEXT: usize = 3;

/// One line of the script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Same,
    Old,
    New,
}

/// The diff, empty where the texts are the same.
pub fn unified(name: &str, old: &str, new: &str) -> String {
    if old == new {
        return String::new();
    }
    let (a, b): (Vec<&str>, Vec<&str>) = (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let script = script(&a, &b);
    let mut out = format!("--- {name}\n+++ {name}\n");
    let changed: Vec<usize> = (0..script.len()).filter(|at| script[*at] != Step::Same).collect();
    let mut next = 0;
    while next < changed.len() {
        let start = changed[next].saturating_sub(CONTEXT);
        while next + 1 < changed.len() && changed[next + 1] - changed[next] <= 2 * CONTEXT {
            next += 1;
        }
        let end = (changed[next] + CONTEXT + 1).min(script.len());
        next += 1;
        let count = |until: usize, without: Step| script[..until].iter().filter(|step| **step != without).count();
        let (old_at, new_at) = (count(start, Step::New), count(start, Step::Old));
        let (old_lines, new_lines) = (count(end, Step::New) - old_at, count(end, Step::Old) - new_at);
        // An empty range is named by the line before it.
        let first = |at: usize, lines: usize| if lines == 0 { at } else { at + 1 };
        let (old_first, new_first) = (first(old_at, old_lines), first(new_at, new_lines));
        out.push_str(&format!("@@ -{old_first},{old_lines} +{new_first},{new_lines} @@\n"));
        let (mut i, mut j) = (old_at, new_at);
        for step in &script[start..end] {
            let (sign, line) = match step {
                Step::Same => (' ', a[i]),
                Step::Old => ('-', a[i]),
                Step::New => ('+', b[j]),
            };
            i += usize::from(*step != Step::New);
            j += usize::from(*step != Step::Old);
            out.push(sign);
            out.push_str(line);
            if !line.ends_with('\n') {
                out.push_str("\n\\ No newline at end of file\n");
            }
        }
    }
    out
}

fn script(a: &[&str], b: &[&str]) -> Vec<Step> {
    let prefix = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let suffix = a[prefix..].iter().rev().zip(b[prefix..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (x, y) = (&a[prefix..a.len() - suffix], &b[prefix..b.len() - suffix]);
    let middle = shortest(x, y).unwrap_or_else(|| [vec![Step::Old; x.len()], vec![Step::New; y.len()]].concat());
    [vec![Step::Same; prefix], middle, vec![Step::Same; suffix]].concat()
}

fn shortest(a: &[&str], b: &[&str]) -> Option<Vec<Step>> {
    let most = (a.len() + b.len()).min(MOST);
    let offset = most + 1;
    let mut furthest = vec![0usize; 2 * most + 3];
    let mut trace = Vec::new();
    for d in 0..=most {
        trace.push(furthest[offset - d..=offset + d].to_vec());
        for k in (0..=d).map(|step| offset + 2 * step - d) {
            let down = k == offset - d || (k != offset + d && furthest[k - 1] < furthest[k + 1]);
            let mut x = if down { furthest[k + 1] } else { furthest[k - 1] + 1 };
            while x < a.len() && (x + offset).checked_sub(k).is_some_and(|y| y < b.len() && a[x] == b[y]) {
                x += 1;
            }
            furthest[k] = x;
            if x >= a.len() && x + offset >= k + b.len() {
                return Some(back(a, b, &trace, d, offset));
            }
        }
    }
    None
}

fn back(a: &[&str], b: &[&str], trace: &[Vec<usize>], last: usize, offset: usize) -> Vec<Step> {
    let (mut x, mut y) = (a.len(), b.len());
    let mut steps = Vec::new();
    for d in (1..=last).rev() {
        let at = |k: usize| trace[d].get((k + d).wrapping_sub(offset)).copied().unwrap_or(0);
        let k = x + offset - y;
        let down = k == offset - d || (k != offset + d && at(k - 1) < at(k + 1));
        let before = if down { k + 1 } else { k - 1 };
        let from_x = at(before);
        let from_y = from_x + offset - before;
        while x > from_x && y > from_y {
            steps.push(Step::Same);
            (x, y) = (x - 1, y - 1);
        }
        steps.push(if down { Step::New } else { Step::Old });
        (x, y) = (from_x, from_y);
    }
    steps.extend(std::iter::repeat_n(Step::Same, x));
    steps.reverse();
    steps
}

#[cfg(test)]
mod tests {
    use super::unified;

    #[test]
    fn changes_stand_with_three_lines_around_them() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let new = "1\n2\n3\n4\nfive\n6\n7\n8\n9\n10";
        let wanted =
            "--- f\n+++ f\n@@ -2,8 +2,9 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n 9\n+10\n\\ No newline at end of file\n";
        assert_eq!(unified("f", old, new), wanted);
        assert_eq!(unified("f", old, old), "");
        assert_eq!(unified("f", "", "a\n"), "--- f\n+++ f\n@@ -0,0 +1,1 @@\n+a\n");
    }

    #[test]
    fn distant_changes_have_a_part_each() {
        let old: String = (0..30).map(|line| format!("{line}\n")).collect();
        let new = old.replace("\n3\n", "\n3\nx\n").replace("\n20\n", "\n");
        let diff = unified("f", &old, &new);
        assert_eq!(diff.matches("@@ -").count(), 2, "{diff}");
        assert!(diff.contains("@@ -2,6 +2,7 @@\n 1\n 2\n 3\n+x\n 4\n"), "{diff}");
        assert!(diff.contains("-20\n"), "{diff}");
    }
}
