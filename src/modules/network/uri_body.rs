//! What `uri` sends: text, JSON, a form, or a form of parts.

use super::ask::word;
use crate::modules::files::common::Step;
use crate::modules::files::python_json;
use crate::modules::{Content, Context, ModuleError, NoController};
use base64::Engine;
use serde::Deserialize;
use serde_json::{Map, Value};

/// How the body is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Format {
    /// As it stands; what is no text as JSON.
    #[default]
    #[serde(rename = "raw")]
    Raw,
    /// As JSON.
    #[serde(rename = "json")]
    Json,
    /// As a form.
    #[serde(rename = "form-urlencoded")]
    Form,
    /// As a form of parts, which may be files.
    #[serde(rename = "form-multipart")]
    Multipart,
}

/// The field of a part under which the controller half puts a file's contents.
pub(super) const CONTENTS: &str = "_contents";

/// The body's bytes, and the type that they have where the task does not say it.
pub(super) fn encode(
    format: Format,
    body: Option<&Value>,
    context: &mut Context<'_>,
) -> Step<(Option<Vec<u8>>, Option<String>)> {
    let json = |value: &Value| {
        let mut text = String::new();
        python_json(value, &mut text);
        text.into_bytes()
    };
    Ok(match (format, body) {
        (Format::Raw, None | Some(Value::Null)) => (None, None),
        (Format::Raw, Some(value)) => (Some(word_or_json(value, &json)), None),
        (Format::Json, body) => {
            let bytes = match body.unwrap_or(&Value::Null) {
                Value::String(text) => text.clone().into_bytes(),
                value => json(value),
            };
            (Some(bytes), Some("application/json".into()))
        }
        (Format::Form, body) => {
            let bytes = match body {
                None | Some(Value::Null) => None,
                Some(Value::String(text)) => Some(text.clone().into_bytes()),
                Some(value) => Some(form(value)?.into_bytes()),
            };
            (bytes, Some("application/x-www-form-urlencoded".into()))
        }
        (Format::Multipart, Some(Value::Object(fields))) => {
            let boundary = boundary()?;
            let bytes = parts(fields, &boundary, context)?;
            (Some(bytes), Some(format!("multipart/form-data; boundary=\"{boundary}\"")))
        }
        (Format::Multipart, other) => {
            let kind = match other {
                None | Some(Value::Null) => "NoneType",
                Some(Value::Array(_)) => "list",
                Some(Value::String(_)) => "str",
                Some(_) => "int",
            };
            return Err(ModuleError::Failed(format!("body must be mapping, cannot be type {kind}")));
        }
    })
}

fn word_or_json(value: &Value, json: &dyn Fn(&Value) -> Vec<u8>) -> Vec<u8> {
    match value {
        Value::Array(_) | Value::Object(_) => json(value),
        plain => word(plain).into_bytes(),
    }
}

/// `a=b&c=d`; a mapping, or a list of pairs.
fn form(value: &Value) -> Step<String> {
    let wrong = || ModuleError::Failed("failed to parse body as form_urlencoded: it is no list of pairs".into());
    let pairs: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(list) => list
            .iter()
            .map(|pair| match pair.as_array().map(Vec::as_slice) {
                Some([name, value]) => Some((word(name), value)),
                _ => None,
            })
            .collect::<Option<_>>()
            .ok_or_else(wrong)?,
        _ => return Err(wrong()),
    };
    let mut words = Vec::new();
    for (name, value) in pairs {
        let values: Vec<&Value> = match value {
            Value::Array(values) => values.iter().collect(),
            value => vec![value],
        };
        for value in values.into_iter().filter(|value| !value.is_null()) {
            words.push(format!("{}={}", quoted(&name), quoted(&word(value))));
        }
    }
    Ok(words.join("&"))
}

fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes()
        .map(|b| match b {
            b' ' => "+".to_string(),
            b if plain(b) => (b as char).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}

fn boundary() -> Step<String> {
    let mut bytes = [0u8; 12];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| ModuleError::Failed(format!("cannot get random bytes: {e}")))?;
    Ok(format!("==============={}==", crate::machine::files::hex(&bytes)))
}

/// The parts, in the order of their names as Ansible sends them.
fn parts(fields: &Map<String, Value>, boundary: &str, context: &mut Context<'_>) -> Step<Vec<u8>> {
    let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
    sorted.sort_by(|one, other| one.0.cmp(other.0));
    let mut bytes = Vec::new();
    for (name, value) in sorted {
        bytes.extend(format!("--{boundary}\r\n").bytes());
        part(name, value, &mut bytes, context)?;
        bytes.extend(b"\r\n");
    }
    bytes.extend(format!("--{boundary}--\r\n").bytes());
    Ok(bytes)
}

fn part(name: &str, value: &Value, bytes: &mut Vec<u8>, context: &mut Context<'_>) -> Step<()> {
    let disposition = format!("Content-Disposition: form-data; name=\"{}\"", name.replace('"', "\\\""));
    let fields = match value {
        Value::String(text) => {
            bytes.extend(format!("Content-Type: text/plain\r\n{disposition}\r\n\r\n{text}").bytes());
            return Ok(());
        }
        Value::Object(fields) => fields,
        other => {
            let kind = if other.is_array() { "list" } else { "int" };
            let why = format!("value must be a string, or mapping, cannot be type {kind}");
            return Err(ModuleError::Failed(format!("failed to parse body as form-multipart: {why}")));
        }
    };
    let text = |key: &str| fields.get(key).filter(|value| !value.is_null()).map(word).filter(|text| !text.is_empty());
    let (filename, content) = (text("filename"), text("content"));
    if filename.is_none() && content.is_none() {
        let why = "at least one of filename or content must be provided";
        return Err(ModuleError::Failed(format!("failed to parse body as form-multipart: {why}")));
    }
    let kind = text("mime_type").unwrap_or_else(|| guess(filename.as_deref().unwrap_or_default()).to_string());
    let shown = filename.as_deref().and_then(|name| name.rsplit('/').next());
    let shown = shown.map(|name| format!("; filename=\"{name}\"")).unwrap_or_default();
    if let Some(content) = content {
        bytes.extend(format!("Content-Type: {kind}\r\n{disposition}{shown}\r\n\r\n{content}").bytes());
        return Ok(());
    }
    let path = filename.unwrap_or_default();
    let file = match fields.get(CONTENTS) {
        Some(delivered) => {
            let content: Content = serde_json::from_value(delivered.clone())
                .map_err(|e| ModuleError::Failed(format!("the contents in the request are not understood: {e}")))?;
            read(&content, context).map_err(|e| ModuleError::Failed(format!("cannot read {path}: {e}")))?
        }
        None => std::fs::read(&path).map_err(|e| ModuleError::Failed(format!("cannot read {path}: {e}")))?,
    };
    match text("multipart_encoding").as_deref() {
        Some("7or8bit") => {
            let encoding = if file.is_ascii() { "7bit" } else { "8bit" };
            let head = format!(
                "Content-Transfer-Encoding: {encoding}\r\nContent-Type: {kind}\r\n{disposition}{shown}\r\n\r\n"
            );
            bytes.extend(head.bytes());
            bytes.extend(file);
        }
        None | Some("base64") => {
            let head =
                format!("Content-Transfer-Encoding: base64\r\nContent-Type: {kind}\r\n{disposition}{shown}\r\n\r\n");
            bytes.extend(head.bytes());
            let packed = base64::engine::general_purpose::STANDARD.encode(file);
            for line in packed.as_bytes().chunks(76) {
                bytes.extend(line);
                bytes.extend(b"\r\n");
            }
        }
        Some(_) => {
            let why = "multipart_encoding must be one of dict_keys(['base64', '7or8bit']).";
            return Err(ModuleError::Failed(format!("failed to parse body as form-multipart: {why}")));
        }
    }
    Ok(())
}

/// Contents of a request, all of them.
pub(in crate::modules) fn read(content: &Content, context: &mut Context<'_>) -> std::io::Result<Vec<u8>> {
    use crate::modules::Controller;
    use std::io::Read;
    let mut bytes = Vec::new();
    match content {
        Content::Blob { .. } => context.controller.open(content)?.read_to_end(&mut bytes)?,
        _ => NoController.open(content)?.read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

/// The type of a file, by its name.
fn guess(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, end)| end) {
        "txt" | "conf" | "log" => "text/plain",
        "html" | "htm" => "text/html",
        "css" => "text/css",
        "csv" => "text/csv",
        "xml" => "text/xml",
        "json" => "application/json",
        "js" => "text/javascript",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "tar" => "application/x-tar",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn encoded(format: Format, body: Value) -> (String, Option<String>) {
        let mut context = Context { diff: false, no_log: false, controller: &mut NoController };
        let (bytes, kind) = encode(format, Some(&body), &mut context).unwrap();
        (String::from_utf8(bytes.unwrap_or_default()).unwrap(), kind)
    }

    #[test]
    fn bodies() {
        for (format, body, expected) in [
            (Format::Raw, json!("a b"), "a b"),
            (Format::Raw, json!(true), "True"),
            (Format::Json, json!({"a": [1, "ä"]}), "{\"a\": [1, \"\\u00e4\"]}"),
            (Format::Json, json!("{}"), "{}"),
            (Format::Form, json!({"a": "b c&", "d": ["1", 2, null]}), "a=b+c%26&d=1&d=2"),
            (Format::Form, json!([["a", "b"], ["a", true]]), "a=b&a=True"),
            (Format::Form, json!("x=y"), "x=y"),
        ] {
            assert_eq!(encoded(format, body.clone()).0, expected, "{body}");
        }
        let (text, kind) = encoded(Format::Multipart, json!({"b": {"content": "x", "filename": "d/f.txt"}, "a": "1"}));
        let kind = kind.unwrap();
        let boundary = kind.split('"').nth(1).unwrap();
        let expected = "--B\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
                        --B\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name=\"b\"; \
                        filename=\"f.txt\"\r\n\r\nx\r\n--B--\r\n";
        assert_eq!(text, expected.replace("--B", &format!("--{boundary}")));
    }
}
