//! Names of variables.

/// Words that are values, or mean something, wherever an expression has them.
const RESERVED: [&str; 7] = ["true", "false", "none", "True", "False", "None", "not"];

/// Whether a variable may have this name: a letter or `_`, then letters, digits and `_`, of ASCII; none of Jinja's own words.
pub fn is_variable_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !RESERVED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_names() {
        for (name, good) in
            [("a", true), ("_b1", true), ("1b", false), ("a-b", false), ("", false), ("é", false), ("none", false)]
        {
            assert_eq!(is_variable_name(name), good, "{name}");
        }
    }
}
