//! Values by prefixes of digits: a tree of arrays, so that all prefixes of a number are met in one walk along it,
//! whether there are ten or a million.

/// `0`–`9`, `*`, `#`.
const SYMBOLS: usize = 12;

fn symbol(byte: u8) -> Option<usize> {
    match byte {
        b'0'..=b'9' => Some(usize::from(byte - b'0')),
        b'*' => Some(10),
        b'#' => Some(11),
        _ => None,
    }
}

/// The part of a text that the tree tells apart: its digits up to the first other character, a leading `+` left out.
pub(super) fn indexed(text: &str) -> &str {
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.bytes().position(|b| symbol(b).is_none()).unwrap_or(text.len());
    &text[..end]
}

/// Nodes stand by distance from the root, so that the children of one are neighbours: a node says which it has and where
/// the first stands, and the lowest levels share cache lines.
#[derive(Clone, Copy)]
struct Node {
    /// Bit by symbol.
    children: u16,
    first_child: u32,
    /// Where this node's values begin; they end where the next node's begin.
    values: u32,
}

/// Values by prefix, built once.
pub(super) struct PrefixMap<T> {
    nodes: Vec<Node>,
    values: Vec<T>,
}

/// While it is built: all children by symbol (0: none), and the node's values.
struct Draft<T> {
    children: [u32; SYMBOLS],
    values: Vec<T>,
}

impl<T> Draft<T> {
    fn new() -> Self {
        Self { children: [0; SYMBOLS], values: Vec::new() }
    }
}

impl<T: Copy> PrefixMap<T> {
    /// `entries`: prefix and value; a prefix may come more than once, and its values stay in their order.
    pub(super) fn new<'k>(entries: impl IntoIterator<Item = (&'k str, T)>) -> Self {
        let mut drafts = vec![Draft::new()];
        for (prefix, value) in entries {
            let mut at = 0;
            for byte in indexed(prefix).bytes() {
                let symbol = symbol(byte).expect("indexed() leaves symbols alone");
                if drafts[at].children[symbol] == 0 {
                    drafts[at].children[symbol] = drafts.len() as u32;
                    drafts.push(Draft::new());
                }
                at = drafts[at].children[symbol] as usize;
            }
            drafts[at].values.push(value);
        }
        let mut order: Vec<usize> = Vec::with_capacity(drafts.len());
        order.push(0);
        let mut nodes = Vec::with_capacity(drafts.len());
        let mut values = Vec::new();
        let mut next = 0;
        while let Some(&draft) = order.get(next) {
            let draft = &drafts[draft];
            let mut node = Node { children: 0, first_child: order.len() as u32, values: values.len() as u32 };
            for (symbol, &child) in draft.children.iter().enumerate().filter(|(_, child)| **child != 0) {
                node.children |= 1 << symbol;
                order.push(child as usize);
            }
            values.extend_from_slice(&draft.values);
            nodes.push(node);
            next += 1;
        }
        Self { nodes, values }
    }

    /// The values of all prefixes of `number`, the shortest prefix first.
    pub(super) fn prefixes(&self, number: &str, mut each: impl FnMut(&[T])) {
        let mut at = 0;
        let mut symbols = indexed(number).bytes().filter_map(symbol);
        loop {
            let node = self.nodes[at];
            let to = self.nodes.get(at + 1).map_or(self.values.len(), |n| n.values as usize);
            let values = &self.values[node.values as usize..to];
            if !values.is_empty() {
                each(values);
            }
            let Some(symbol) = symbols.next() else { return };
            if node.children & (1 << symbol) == 0 {
                return;
            }
            let before = (node.children & ((1 << symbol) - 1)).count_ones();
            at = (node.first_child + before) as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    fn longest<T: Copy>(map: &PrefixMap<T>, number: &str) -> Option<T> {
        let mut found = None;
        map.prefixes(number, |values| found = values.first().copied());
        found
    }

    #[test]
    fn the_longest_prefix_is_that_of_a_plain_search() {
        let mut rng = rand::rngs::ChaCha12Rng::seed_from_u64(11);
        let mut number = |longest: usize| -> String {
            let n = rng.random_range(0..=longest);
            (0..n).map(|_| char::from(b'0' + rng.random_range(0..3u8))).collect()
        };
        let mut prefixes: Vec<String> = (0..300).map(|_| number(6)).collect();
        prefixes.sort();
        prefixes.dedup();
        let map = PrefixMap::new(prefixes.iter().enumerate().map(|(i, p)| (p.as_str(), i)));
        for _ in 0..2_000 {
            let wanted = number(9);
            let plain =
                (0..prefixes.len()).filter(|&i| wanted.starts_with(&prefixes[i])).max_by_key(|&i| prefixes[i].len());
            assert_eq!(longest(&map, &wanted), plain, "{wanted}");
        }
    }

    #[test]
    fn values_of_one_prefix_stay_in_their_order_and_a_plus_is_passed_over() {
        let map = PrefixMap::new([("+44", 2), ("", 9), ("44", 1)]);
        let mut met = Vec::new();
        map.prefixes("+4420", |values| met.extend_from_slice(values));
        assert_eq!(met, [9, 2, 1]);
    }

    #[test]
    fn an_empty_map_finds_nothing() {
        assert_eq!(longest(&PrefixMap::<u8>::new([]), "4420"), None);
    }
}
