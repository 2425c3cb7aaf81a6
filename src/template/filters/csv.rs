//! `from_csv`, with Python's reader of such texts, which the lookup `csvfile` reads by, too.

use minijinja::Error;
use minijinja::value::Value;

use crate::template::args::{Args, R, fail, items};
use crate::template::py;

/// How the rows are written.
pub(in crate::template) struct Dialect {
    pub delimiter: char,
    /// Spaces behind a delimiter are left out.
    pub skip_spaces: bool,
    /// What is not well formed is an error.
    pub strict: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum At {
    Row,
    Field,
    InField,
    InQuotes,
    BehindQuote,
    BehindRow,
}

/// The rows of a text. One that is empty has no fields.
pub(in crate::template) fn rows(text: &str, dialect: &Dialect) -> Result<Vec<Vec<String>>, Error> {
    let (mut all, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut at = At::Row;
    let is_end = |c: Option<char>| matches!(c, None | Some('\n' | '\r'));
    for line in text.split_inclusive('\n') {
        // A line has its end behind its last character, too.
        for c in line.chars().map(Some).chain([None]) {
            let behind = if c.is_none() { At::Row } else { At::BehindRow };
            at = match (at, c) {
                (At::Row, None) => At::Row,
                (At::Row, _) if is_end(c) => At::BehindRow,
                (At::BehindRow, None) => At::Row,
                (At::BehindRow, _) if is_end(c) => At::BehindRow,
                (At::BehindRow, Some(_)) => return Err(fail("csv: a line ends inside of a field without quotes")),
                (At::InQuotes, None) => At::InQuotes,
                (At::InQuotes, Some('"')) => At::BehindQuote,
                (At::InQuotes, Some(c)) => {
                    field.push(c);
                    At::InQuotes
                }
                (At::BehindQuote, Some('"')) => {
                    field.push('"');
                    At::InQuotes
                }
                (_, c) if is_end(c) => {
                    row.push(std::mem::take(&mut field));
                    behind
                }
                (At::Row | At::Field, Some('"')) => At::InQuotes,
                (At::Row | At::Field, Some(' ')) if dialect.skip_spaces => At::Field,
                (_, Some(c)) if c == dialect.delimiter => {
                    row.push(std::mem::take(&mut field));
                    At::Field
                }
                (At::BehindQuote, Some(_)) if dialect.strict => {
                    return Err(fail("csv: something stands between a quote and the delimiter"));
                }
                (_, Some(c)) => {
                    field.push(c);
                    At::InField
                }
                (at, None) => at,
            };
        }
        if at == At::Row {
            all.push(std::mem::take(&mut row));
        }
    }
    if at != At::Row {
        if dialect.strict {
            return Err(fail("csv: the text ends inside of quotes"));
        }
        row.push(field);
        all.push(row);
    }
    Ok(all)
}

/// One row under the names. What there is more stands under none, what there is not is none.
fn named(names: &[Value], row: Vec<String>) -> Value {
    let mut fields = row.into_iter().map(Value::from);
    let mut out: indexmap::IndexMap<Value, Value> =
        names.iter().map(|name| (name.clone(), fields.next().unwrap_or(Value::from(())))).collect();
    let more: Vec<Value> = fields.collect();
    if !more.is_empty() {
        out.insert(Value::from(()), Value::from(more));
    }
    Value::from_pairs(out)
}

/// `from_csv(dialect, fieldnames, delimiter, skipinitialspace, strict)`
pub(super) fn from_csv(args: &Args) -> R {
    args.only(6, &["dialect", "fieldnames", "delimiter", "skipinitialspace", "strict"])?;
    let delimiter = match args.text(1, "dialect").as_deref() {
        None | Some("excel" | "unix") => ',',
        Some("excel-tab") => '\t',
        Some(other) => return Err(fail(format!("from_csv: unknown dialect '{other}'"))),
    };
    let delimiter = match args.some(3, "delimiter") {
        None => delimiter,
        Some(given) => match given.as_str().map(|text| text.chars().collect::<Vec<_>>()).as_deref() {
            Some([one]) => *one,
            _ => return Err(fail("from_csv: the delimiter must be one character")),
        },
    };
    let dialect = Dialect {
        delimiter,
        skip_spaces: args.flag(4, "skipinitialspace", false),
        strict: args.flag(5, "strict", false),
    };
    let text = py::str(&args.value());
    let mut rows = rows(text.strip_prefix('\u{feff}').unwrap_or(&text), &dialect)?.into_iter();
    let names = match args.some(2, "fieldnames") {
        Some(names) => items(&names, "from_csv")?,
        None => rows.next().unwrap_or_default().into_iter().map(Value::from).collect(),
    };
    Ok(rows.filter(|row| !row.is_empty()).map(|row| named(&names, row)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_texts() {
        let plain = Dialect { delimiter: ',', skip_spaces: false, strict: false };
        for (text, wanted) in [
            ("a,b\n1,2\n", vec![vec!["a", "b"], vec!["1", "2"]]),
            ("a,\"b, \"\"c\"\"\nd\"\r\n\n1", vec![vec!["a", "b, \"c\"\nd"], vec![], vec!["1"]]),
            ("a\"b,\"c\"d\n", vec![vec!["a\"b", "cd"]]),
            ("a, b,\n", vec![vec!["a", " b", ""]]),
            ("\"a", vec![vec!["a"]]),
            ("", vec![]),
        ] {
            assert_eq!(rows(text, &plain).unwrap(), wanted, "{text:?}");
        }
        assert!(rows("a\rb", &plain).is_err());
        let strict = Dialect { delimiter: ';', skip_spaces: true, strict: true };
        assert_eq!(rows("a;  \"b\"\n", &strict).unwrap(), [["a", "b"]]);
        assert!(rows("\"a\"b\n", &strict).is_err());
        assert!(rows("\"a", &strict).is_err());
    }

    #[test]
    fn rows_under_names() {
        let run = |values: Vec<Value>| from_csv(&Args::from_values("from_csv", values).unwrap()).map(|v| py::str(&v));
        assert_eq!(
            run(vec![Value::from("a,b\n1,2,3\n4\n")]).unwrap(),
            "[{'a': '1', 'b': '2', None: ['3']}, {'a': '4', 'b': None}]"
        );
        assert_eq!(
            run(vec![Value::from("1\t2"), Value::from("excel-tab"), Value::from(vec!["x", "y"])]).unwrap(),
            "[{'x': '1', 'y': '2'}]"
        );
        assert!(run(vec![Value::from("1"), Value::from("nonesuch")]).is_err());
    }
}
