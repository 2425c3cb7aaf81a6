//! The nearest of some names, for "did you mean".

/// The candidate nearest to `word`, if one is near enough to be meant.
pub fn did_you_mean<'a, I, S>(word: &str, candidates: I) -> Option<&'a str>
where
    I: IntoIterator<Item = &'a S>,
    S: AsRef<str> + ?Sized + 'a,
{
    if word.len() > 200 {
        return None;
    }
    let limit = match word.chars().count() {
        0..=2 => 1,
        3..=5 => 2,
        _ => 3,
    };
    let lower = word.to_lowercase();
    let mut best: Option<((usize, usize), &str)> = None;
    for candidate in candidates {
        let candidate = candidate.as_ref();
        if candidate.len().abs_diff(word.len()) > limit * 4 {
            continue;
        }
        let distance = distance(&lower, &candidate.to_lowercase());
        // Never suggest a name of which nothing would remain.
        if distance > limit || distance >= candidate.chars().count() {
            continue;
        }
        // Of equally near names the one that has more of the word's letters: `taks` is `tasks`, not `tags`.
        let missing = lower.chars().filter(|c| !candidate.contains(*c)).count();
        if best.is_none_or(|(least, _)| (distance, missing) < least) {
            best = Some(((distance, missing), candidate));
        }
    }
    best.map(|(_, name)| name)
}

/// Edits between two words, a swap of neighbours counting as one.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, cb) in b.iter().enumerate() {
            let get = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let mut cost = (get(&last, j + 1) + 1).min(get(&row, j) + 1).min(get(&last, j) + usize::from(ca != cb));
            if i > 0 && j > 0 && a.get(i - 1) == Some(cb) && b.get(j - 1) == Some(ca) {
                cost = cost.min(get(&before, j - 1) + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}
