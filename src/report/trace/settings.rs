//! Where traces go, in the variables that OpenTelemetry has for it.

use crate::http::{self, Url};
use crate::redact::MIN_LENGTH;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;

/// A run does not wait longer for its collector, whatever the environment says.
const LONGEST: Duration = Duration::from_secs(10);
/// It waits so long when nothing is said.
const USUAL: Duration = Duration::from_secs(5);

/// Where a trace is sent, and what it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The collector.
    pub url: Url,
    /// Headers of the request.
    pub headers: Vec<(String, String)>,
    /// Authorities, instead of those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long it may take.
    pub timeout: Duration,
    /// The span that caused the run.
    pub parent: Option<Parent>,
    attributes: Vec<(String, String)>,
}

/// A span elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// The trace, in hex.
    pub trace: String,
    /// The span, in hex.
    pub span: String,
    /// What other systems wrote beside it.
    pub state: String,
}

impl Settings {
    /// Reads variables; nothing where no endpoint is named, or traces are switched off.
    ///
    /// # Errors
    /// Something is asked for that is not spoken here.
    pub fn from_environment(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Settings>, String> {
        let get = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
        // What is said of traces alone goes before what is said of everything.
        let either = |end: &str| {
            let (own, common) = (format!("OTEL_EXPORTER_OTLP_TRACES_{end}"), format!("OTEL_EXPORTER_OTLP_{end}"));
            get(&own).map(|text| (own, text)).or_else(|| get(&common).map(|text| (common, text)))
        };
        let Some((named, endpoint)) = either("ENDPOINT") else { return Ok(None) };
        let off = get("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        match get("OTEL_TRACES_EXPORTER").as_deref() {
            _ if off => return Ok(None),
            Some("none") => return Ok(None),
            None | Some("otlp") => {}
            Some(other) => return Err(format!("OTEL_TRACES_EXPORTER={other}: only otlp is spoken")),
        }
        if let Some((name, protocol)) = either("PROTOCOL").filter(|(_, text)| text != "http/json") {
            return Err(format!("{name}={protocol}: only http/json is spoken (a collector takes it on port 4318)"));
        }
        let whole =
            if named.contains("TRACES") { endpoint } else { format!("{}/v1/traces", endpoint.trim_end_matches('/')) };
        let url = Url::parse(&whole).map_err(|why| format!("{named}: {why}"))?;
        let headers = match either("HEADERS") {
            Some((name, text)) => pairs(&text).ok_or(format!("{name}: it is written KEY=VALUE,KEY=VALUE"))?,
            None => Vec::new(),
        };
        http::check(&headers).map_err(|why| why.replace("`headers`", "OTEL_EXPORTER_OTLP_HEADERS"))?;
        let timeout = match either("TIMEOUT") {
            Some((name, text)) => {
                let milliseconds =
                    text.trim().parse().map_err(|_| format!("{name}={text}: these are no milliseconds"))?;
                Duration::from_millis(milliseconds).min(LONGEST)
            }
            None => USUAL,
        };
        // A parent that is none is as good as none: so says the standard.
        let parent =
            get("TRACEPARENT").and_then(|text| Parent::parse(text.trim(), get("TRACESTATE").unwrap_or_default()));
        let parent = match parent {
            // Who is not traced does not want us to be.
            Some((_, false)) => return Ok(None),
            parent => parent.map(|(parent, _)| parent),
        };
        let mut attributes = get("OTEL_RESOURCE_ATTRIBUTES").and_then(|text| pairs(&text)).unwrap_or_default();
        let given = attributes.iter().find(|(name, _)| name == "service.name").map(|(_, name)| name.clone());
        let service = get("OTEL_SERVICE_NAME").or(given).unwrap_or_else(|| "deploy".into());
        attributes.retain(|(name, _)| name != "service.name");
        attributes.insert(0, ("service.name".into(), service));
        if !attributes.iter().any(|(name, _)| name == "service.version") {
            attributes.push(("service.version".into(), env!("CARGO_PKG_VERSION").into()));
        }
        Ok(Some(Settings {
            url,
            headers,
            ca_file: either("CERTIFICATE").map(|(_, file)| file.into()),
            timeout,
            parent,
            attributes,
        }))
    }

    /// What must not be shown: values of headers, the password and the query of the address. Words are left out that stand in
    /// every other text, too: to mask them would hide nothing, and would make a riddle of what is shown.
    pub fn secrets(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (name, value) in self.headers.iter().cloned().chain(self.url.credentials()) {
            // `Bearer TOKEN`: the token is the secret, wherever it stands.
            let token = value.split_once(' ').map(|(_, token)| token.trim().to_string());
            let tokens = token.into_iter().chain([value]);
            found.extend(tokens.filter(|token| is_secret(&name, token)));
        }
        found
    }

    /// Who sends it.
    pub fn resource(&self) -> Value {
        self.attributes.iter().map(|(name, value)| json!({"key": name, "value": {"stringValue": value}})).collect()
    }
}

/// Shorter ones are never masked.
const SHORTEST: usize = MIN_LENGTH;
/// One that is longer is masked whatever it is called and looks like.
const LONG: usize = 16;

/// Whether the value of a header or field is a secret: its name says so, or it looks like no word.
fn is_secret(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let telling = ["auth", "token", "key", "secret", "pass", "cookie", "credential", "session", "signature"];
    let length = value.chars().count();
    let motley = value.contains(|c: char| c.is_ascii_digit()) && value.contains(|c: char| c.is_ascii_uppercase());
    length >= SHORTEST && (telling.iter().any(|word| name.contains(word)) || length >= LONG || motley)
}

impl Parent {
    /// Reads a `traceparent`: version, trace, span, flags. Says beside whether it is sampled: bit 0 of the flags.
    fn parse(text: &str, state: String) -> Option<(Parent, bool)> {
        let parts: Vec<&str> = text.split('-').collect();
        let [version, trace, span, flags, more @ ..] = parts.as_slice() else { return None };
        let hex = |text: &str, length: usize| {
            text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        };
        let some = |text: &str| text.bytes().any(|b| b != b'0');
        let good = hex(version, 2) && *version != "ff" && hex(trace, 32) && some(trace) && hex(span, 16) && some(span);
        // Later versions may have more fields.
        let whole = hex(flags, 2) && (more.is_empty() || *version != "00");
        let sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
        (good && whole).then(|| (Parent { trace: (*trace).into(), span: (*span).into(), state }, sampled))
    }
}

/// `a=b,c=d%20e`
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        Some((name.trim().to_string(), crate::machine::web::unescaped(value.trim())))
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        Settings::from_environment(&|name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_string())
        })
    }

    const HERE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");

    #[test]
    fn traces_go_where_the_environment_says() {
        for (variables, expected) in [
            (vec![], None),
            (vec![HERE], Some("http://c:4318/v1/traces")),
            (vec![("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c/otlp/")], Some("https://c/otlp/v1/traces")),
            (vec![HERE, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/x")], Some("http://t/x")),
            (vec![HERE, ("OTEL_SDK_DISABLED", "true")], None),
            (vec![HERE, ("OTEL_TRACES_EXPORTER", "none")], None),
            (vec![HERE, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")], Some("http://c:4318/v1/traces")),
            (vec![HERE, ("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")], None),
            // Bit 0 alone says whether it is sampled; the others mean other things.
            (vec![HERE, ("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02")], None),
            (vec![HERE, ("TRACEPARENT", "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-fe-01")], None),
            (
                vec![HERE, ("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03")],
                Some("http://c:4318/v1/traces"),
            ),
            (
                vec![HERE, ("TRACEPARENT", "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-00")],
                Some("http://c:4318/v1/traces"),
            ),
            (vec![HERE, ("TRACEPARENT", "none-00")], Some("http://c:4318/v1/traces")),
        ] {
            let url = read(&variables).unwrap().map(|settings| settings.url.whole());
            assert_eq!(url.as_deref(), expected, "{variables:?}");
        }
    }

    #[test]
    fn what_is_not_spoken_is_said() {
        for (variable, expected) in [
            (("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), "only http/json"),
            (("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"), "only http/json"),
            (("OTEL_TRACES_EXPORTER", "zipkin"), "only otlp"),
            (("OTEL_EXPORTER_OTLP_HEADERS", "nothing"), "KEY=VALUE"),
            (("OTEL_EXPORTER_OTLP_HEADERS", "a=b%0D%0Ac"), "cannot be set"),
            (("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"), "no milliseconds"),
            (("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "c:4317"), "no http://"),
        ] {
            let why = read(&[HERE, variable]).unwrap_err();
            assert!(why.contains(expected), "{variable:?}: {why}");
        }
    }

    #[test]
    fn headers_names_and_parents_are_read() {
        let settings = read(&[
            HERE,
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20x, b = c"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,team=db%2Cops"),
            ("OTEL_SERVICE_NAME", "ours"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "900000"),
            ("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ]);
        let settings = settings.unwrap().unwrap();
        let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
        assert_eq!(settings.headers, [pair("Authorization", "Bearer x"), pair("b", "c")]);
        assert_eq!(settings.attributes[..2], [pair("service.name", "ours"), pair("team", "db,ops")]);
        assert_eq!(settings.timeout, LONGEST);
        assert_eq!(settings.parent.unwrap().span, "b7ad6b7169203331");
        for text in [
            "",
            "00-1-2-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
        ] {
            assert_eq!(read(&[HERE, ("TRACEPARENT", text)]).unwrap().unwrap().parent, None, "{text}");
        }
    }

    #[test]
    fn tokens_and_passwords_are_secrets_and_public_words_are_not() {
        let settings = read(&[
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://me:p%40ssw0rd@c/v1/traces?api-key=abc%2Bdef&team=database"),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "Authorization=Bearer%20the-token,X-Team=db,X-Area=production,X-Api-Key=k1,X-Tenant=Ab3dEf7h,signature=qwertz",
            ),
        ]);
        let mut secrets = settings.unwrap().unwrap().secrets();
        secrets.sort();
        let expected = ["Ab3dEf7h", "Bearer the-token", "abc%2Bdef", "abc+def", "p@ssw0rd", "qwertz", "the-token"];
        assert_eq!(secrets, expected);
        assert_eq!(read(&[HERE]).unwrap().unwrap().secrets(), Vec::<String>::new());
    }
}
