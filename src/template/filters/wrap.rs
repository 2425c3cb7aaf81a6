//! Lines of a width, as Python's `textwrap` breaks them.

use minijinja::value::Value;

use crate::template::args::{Args, R};
use crate::template::py;

/// `wordwrap(width, break_long_words, wrapstring, break_on_hyphens)`
pub(super) fn wordwrap(args: &Args) -> R {
    args.only(5, &["width", "break_long_words", "wrapstring", "break_on_hyphens"])?;
    let width = usize::try_from(args.int(1, "width")?.unwrap_or(79)).unwrap_or(79).max(1);
    let break_long = args.flag(2, "break_long_words", true);
    let newline = args.text(3, "wrapstring").unwrap_or_else(|| "\n".to_owned());
    let hyphens = args.flag(4, "break_on_hyphens", true);
    let text = py::str(&args.value());
    let lines: Vec<String> =
        text.lines().map(|line| wrapped(&chunks(line, hyphens), width, break_long, hyphens).join(&newline)).collect();
    Ok(Value::from(lines.join(&newline)))
}

/// The pieces of a line that stay whole: white space, words, parts of words up to a hyphen.
fn chunks(line: &str, hyphens: bool) -> Vec<Vec<char>> {
    let chars: Vec<char> = line.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or(' ');
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let letter = |c: char| word(c) && !c.is_numeric() && c != '_';
    let mut out: Vec<Vec<char>> = Vec::new();
    let mut current = Vec::new();
    for (i, c) in chars.iter().enumerate() {
        if i > 0 && c.is_whitespace() != at(i - 1).is_whitespace() {
            out.push(std::mem::take(&mut current));
        }
        current.push(*c);
        // Between two words of letters, not in a number or an option.
        let before = i >= 2 && letter(at(i - 1)) && word(at(i - 2));
        let behind = || word(at(i + 1)) && (i + 2..chars.len()).take_while(|n| word(at(*n))).any(|n| letter(at(n)));
        if hyphens && *c == '-' && before && behind() {
            out.push(std::mem::take(&mut current));
        }
    }
    out.push(current);
    out.retain(|chunk| !chunk.is_empty());
    out
}

fn wrapped(chunks: &[Vec<char>], width: usize, break_long: bool, hyphens: bool) -> Vec<String> {
    let blank = |chunk: &[char]| chunk.iter().all(|c| c.is_whitespace());
    let mut rest: Vec<Vec<char>> = chunks.iter().rev().cloned().collect();
    let mut lines: Vec<String> = Vec::new();
    while let Some(last) = rest.last() {
        if blank(last) && !lines.is_empty() {
            rest.pop();
            if rest.is_empty() {
                break;
            }
        }
        let (mut current, mut used): (Vec<Vec<char>>, usize) = (Vec::new(), 0);
        while let Some(chunk) = rest.pop() {
            if used + chunk.len() > width {
                rest.push(chunk);
                break;
            }
            used += chunk.len();
            current.push(chunk);
        }
        if let Some(long) = rest.pop_if(|chunk| chunk.len() > width) {
            let space = width - used;
            if break_long {
                let hyphen =
                    long.iter().take(space).rposition(|c| *c == '-').filter(|at| {
                        hyphens && *at > 0 && long.iter().take(*at).any(|c| *c != '-') && long.len() > space
                    });
                let (head, tail) = long.split_at(hyphen.map_or(space, |at| at + 1).min(long.len()));
                current.push(head.to_vec());
                if !tail.is_empty() {
                    rest.push(tail.to_vec());
                }
            } else if current.is_empty() {
                current.push(long);
            } else {
                rest.push(long);
            }
        }
        if current.last().is_some_and(|chunk| blank(chunk)) {
            current.pop();
        }
        if !current.is_empty() {
            lines.push(current.concat().into_iter().collect());
        }
    }
    lines
}
