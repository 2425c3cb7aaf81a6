//! The order of a rolling play and its turns: pure.

use crate::playbook::Limit;
use serde_json::Value;
use std::cmp::Ordering;
use std::collections::HashMap;

/// The hosts' numbers, sorted by their keys; equal keys keep their order. `false` before `true`, small numbers before
/// large ones, text by its letters; what is not given comes first, and of different kinds booleans come before numbers,
/// numbers before text.
pub fn sort(keys: &[Value]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|a, b| compare(&keys[*a], &keys[*b]));
    order
}

fn compare(a: &Value, b: &Value) -> Ordering {
    let kind = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) | Value::Object(_) => 4,
    };
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()).unwrap_or(Ordering::Equal),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        _ => kind(a).cmp(&kind(b)),
    }
}

/// Cuts hosts, of which the data centres are given in their order, into turns.
///
/// The first host has a turn of its own: it is the canary. No turn has more hosts than the limit allows of all, nor more
/// of one data centre than it allows of that one; where there are several data centres, none loses all of its hosts in one
/// turn unless it has only one. Nobody overtakes: a host that does not fit ends the turn.
pub fn cut(centres: &[&str], limit: Limit) -> Vec<Vec<usize>> {
    let mut sizes: HashMap<&str, usize> = HashMap::new();
    for centre in centres {
        *sizes.entry(centre).or_default() += 1;
    }
    let several = sizes.len() > 1;
    let of_centre = |centre: &str| {
        let size = sizes.get(centre).copied().unwrap_or(0);
        let allowed = limit.of(size);
        if several { allowed.min(size.saturating_sub(1).max(1)) } else { allowed }
    };
    let of_all = limit.of(centres.len());
    let mut turns: Vec<Vec<usize>> = Vec::new();
    for (index, centre) in centres.iter().enumerate() {
        let fits = turns.len() > 1
            && turns.last().is_some_and(|turn| {
                turn.len() < of_all
                    && turn.iter().filter(|other| centres[**other] == *centre).count() < of_centre(centre)
            });
        match turns.last_mut().filter(|_| fits) {
            Some(turn) => turn.push(index),
            None => turns.push(vec![index]),
        }
    }
    turns
}

/// Names of hosts and groups that an expression spells out: `inventory_hostname == 'db9'`, `groups['db']`.
pub fn names_in(expression: &str) -> Vec<String> {
    const FORMS: [&str; 4] = [
        r#"inventory_hostname\s*[!=]=\s*['"]([^'"{}]+)['"]"#,
        r#"['"]([^'"{}]+)['"]\s*[!=]=\s*inventory_hostname"#,
        r#"hostvars\s*\[\s*['"]([^'"{}]+)['"]\s*\]"#,
        r#"groups\s*\[\s*['"]([^'"{}]+)['"]\s*\]"#,
    ];
    let mut names = Vec::new();
    for form in FORMS {
        if let Ok(regex) = regex_lite::Regex::new(form) {
            names.extend(regex.captures_iter(expression).filter_map(|found| Some(found.get(1)?.as_str().to_string())));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn keys() {
        for (keys, expected) in [
            (vec![json!(true), json!(false), json!(false)], vec![1, 2, 0]), // the writer last
            (vec![json!(10), json!(9), json!(-1.5)], vec![2, 1, 0]),
            (vec![json!("b"), json!("a"), json!("b")], vec![1, 0, 2]),
            (vec![json!("a"), json!(1), json!(true), json!(null)], vec![3, 2, 1, 0]),
            (vec![json!(1), json!(1), json!(1)], vec![0, 1, 2]),
        ] {
            assert_eq!(sort(&keys), expected, "{keys:?}");
        }
    }

    #[test]
    fn turns() {
        use Limit::{Count, Percent};
        for (centres, limit, expected) in [
            (vec!["", "", ""], Count(1), vec![1, 1, 1]),
            (vec!["", "", "", "", ""], Count(2), vec![1, 2, 2]),
            (vec!["", "", "", "", ""], Percent(49.0), vec![1, 2, 2]),
            (vec!["", "", ""], Percent(10.0), vec![1, 1, 1]),
            // Two in each: never both of one.
            (vec!["a", "a", "b", "b"], Count(2), vec![1, 2, 1]),
            (vec!["a", "b", "a", "b", "a", "b"], Percent(34.0), vec![1, 2, 2, 1]),
            (vec!["a"], Count(3), vec![1]),
            (vec![], Count(1), vec![]),
        ] {
            let sizes: Vec<usize> = cut(&centres, limit).iter().map(Vec::len).collect();
            assert_eq!(sizes, expected, "{centres:?} {limit:?}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(names_in("{{ inventory_hostname == 'db9' }}"), ["db9"]);
        assert_eq!(
            names_in("{{ \"db1\" == inventory_hostname or hostvars['x'].y in groups[\"g\"] }}"),
            ["db1", "x", "g"]
        );
        assert_eq!(names_in("{{ inventory_hostname == writer }}"), [] as [&str; 0]);
    }

    proptest! {
        #[test]
        fn never_more_than_allowed_are_out(
            centres in proptest::collection::vec(0usize..4, 0..30),
            count in 1usize..8,
            percent in proptest::option::of(1u32..=100),
        ) {
            let names = ["a", "b", "c", "d"];
            let centres: Vec<&str> = centres.into_iter().map(|n| names[n]).collect();
            let limit = percent.map_or(Limit::Count(count), |p| Limit::Percent(p.into()));
            let turns = cut(&centres, limit);
            // Everybody once, nobody overtakes.
            let all: Vec<usize> = turns.iter().flatten().copied().collect();
            prop_assert_eq!(all, (0..centres.len()).collect::<Vec<_>>());
            prop_assert!(turns.first().is_none_or(|first| first.len() == 1));
            let different = names.iter().filter(|name| centres.contains(name)).count();
            for turn in &turns {
                prop_assert!(!turn.is_empty() && turn.len() <= limit.of(centres.len()));
                for name in names {
                    let size = centres.iter().filter(|c| **c == name).count();
                    let out = turn.iter().filter(|i| centres[**i] == name).count();
                    prop_assert!(out <= limit.of(size).max(1));
                    prop_assert!(different < 2 || size < 2 || out < size, "all of {} at once", name);
                }
            }
        }

        #[test]
        fn sorting_is_stable_and_loses_nobody(keys in proptest::collection::vec(0i64..4, 0..20)) {
            let keys: Vec<Value> = keys.into_iter().map(Value::from).collect();
            let order = sort(&keys);
            for pair in order.windows(2) {
                let (a, b) = (keys[pair[0]].as_i64(), keys[pair[1]].as_i64());
                prop_assert!(a < b || a == b && pair[0] < pair[1]);
            }
            let mut all = order;
            all.sort_unstable();
            prop_assert_eq!(all, (0..keys.len()).collect::<Vec<_>>());
        }
    }
}
