//! Extensions of certificates and requests, in the words of Ansible's modules.

use super::der::{self, Extension};
use super::tool::colons;
use base64::Engine;
use serde_json::{Map, Value, json};

/// What the key may be used for, in the order of its bits.
const USAGES: [&str; 9] = [
    "Digital Signature",
    "Non Repudiation",
    "Key Encipherment",
    "Data Encipherment",
    "Key Agreement",
    "Certificate Sign",
    "CRL Sign",
    "Encipher Only",
    "Decipher Only",
];

const PURPOSES: [(&str, &str); 6] = [
    ("1.3.6.1.5.5.7.3.1", "TLS Web Server Authentication"),
    ("1.3.6.1.5.5.7.3.2", "TLS Web Client Authentication"),
    ("1.3.6.1.5.5.7.3.3", "Code Signing"),
    ("1.3.6.1.5.5.7.3.4", "E-mail Protection"),
    ("1.3.6.1.5.5.7.3.8", "Time Stamping"),
    ("1.3.6.1.5.5.7.3.9", "OCSP Signing"),
];

/// The values that are returned of extensions.
pub(super) fn told(extensions: &[Extension]) -> Map<String, Value> {
    let of = |oid: &str| extensions.iter().find(|extension| extension.oid == oid);
    let mut all = Map::new();
    let mut tell = |name: &str, oid: &str, read: fn(&[u8]) -> Option<Value>| {
        let found = of(oid);
        let value = found.and_then(|extension| read(&extension.value));
        all.insert(name.into(), value.unwrap_or(Value::Null));
        all.insert(format!("{name}_critical"), found.is_some_and(|extension| extension.critical).into());
    };
    tell("key_usage", "2.5.29.15", usage);
    tell("extended_key_usage", "2.5.29.37", purposes);
    tell("basic_constraints", "2.5.29.19", constraints);
    tell("ocsp_must_staple", "1.3.6.1.5.5.7.1.24", |_| Some(true.into()));
    tell("subject_alt_name", "2.5.29.17", |value| {
        let names = der::one(value)?.elements().map(|name| general_name(name.tag, name.inside));
        Some(names.collect::<Option<Vec<String>>>()?.into())
    });
    let key = of("2.5.29.14").and_then(|extension| der::one(&extension.value));
    all.insert("subject_key_identifier".into(), key.map(|key| colons(key.inside)).into());
    let authority = of("2.5.29.35").and_then(|extension| der::one(&extension.value));
    let part = |tag: u8| authority.and_then(|authority| authority.elements().find(|part| part.tag == tag));
    all.insert("authority_key_identifier".into(), part(0x80).map(|key| colons(key.inside)).into());
    let issuer = part(0xa1).and_then(|names| {
        names.elements().map(|name| general_name(name.tag, name.inside)).collect::<Option<Vec<String>>>()
    });
    all.insert("authority_cert_issuer".into(), issuer.into());
    let serial = part(0x82).map(|serial| number(serial.inside));
    all.insert("authority_cert_serial_number".into(), serial.unwrap_or(Value::Null));
    let by_oid = extensions.iter().map(|extension| {
        let value = base64::engine::general_purpose::STANDARD.encode(&extension.value);
        (extension.oid.clone(), json!({"critical": extension.critical, "value": value}))
    });
    all.insert("extensions_by_oid".into(), by_oid.collect::<Map<String, Value>>().into());
    all
}

/// A serial number: beyond 64 bits it is a text of its digits.
pub(super) fn number(bytes: &[u8]) -> Value {
    let text = der::decimal(bytes);
    text.parse::<u64>().map_or_else(|_| Value::from(text.clone()), Value::from)
}

/// Where a certificate says that its state (`ocsp_uri`) and its issuer's certificate (`issuer_uri`) are to be had, by
/// RFC 5280, 4.2.2.1.
pub(super) fn places(extensions: &[Extension]) -> [(&'static str, Value); 2] {
    let access = extensions.iter().find(|extension| extension.oid == "1.3.6.1.5.5.7.1.1");
    let of = |method: &str| {
        let list = access.and_then(|access| der::one(&access.value))?;
        list.elements().find_map(|description| {
            let mut parts = description.elements();
            let same = der::oid(parts.next()?.inside)? == method;
            let place = parts.next().filter(|place| same && place.tag == 0x86)?;
            Some(Value::from(String::from_utf8_lossy(place.inside)))
        })
    };
    [
        ("ocsp_uri", of("1.3.6.1.5.5.7.48.1").unwrap_or(Value::Null)),
        ("issuer_uri", of("1.3.6.1.5.5.7.48.2").unwrap_or(Value::Null)),
    ]
}

/// OpenSSL's name of how something is signed; one that is not known here keeps its numbers.
pub(super) fn signature_name(oid: &str) -> &str {
    const NAMES: [(&str, &str); 11] = [
        ("1.2.840.113549.1.1.5", "sha1WithRSAEncryption"),
        ("1.2.840.113549.1.1.10", "rsassaPss"),
        ("1.2.840.113549.1.1.11", "sha256WithRSAEncryption"),
        ("1.2.840.113549.1.1.12", "sha384WithRSAEncryption"),
        ("1.2.840.113549.1.1.13", "sha512WithRSAEncryption"),
        ("1.2.840.10045.4.1", "ecdsa-with-SHA1"),
        ("1.2.840.10045.4.3.2", "ecdsa-with-SHA256"),
        ("1.2.840.10045.4.3.3", "ecdsa-with-SHA384"),
        ("1.2.840.10045.4.3.4", "ecdsa-with-SHA512"),
        ("1.3.101.112", "ED25519"),
        ("1.3.101.113", "ED448"),
    ];
    NAMES.iter().find(|(known, _)| *known == oid).map_or(oid, |(_, name)| name)
}

fn usage(value: &[u8]) -> Option<Value> {
    let bits = der::one(value)?.inside.get(1..)?;
    let set = |number: &usize| bits.get(number / 8).is_some_and(|byte| byte & (0x80 >> (number % 8)) != 0);
    let mut names: Vec<&str> =
        USAGES.iter().enumerate().filter(|(number, _)| set(number)).map(|(_, name)| *name).collect();
    names.sort_unstable();
    Some(names.into())
}

fn purposes(value: &[u8]) -> Option<Value> {
    let mut names = Vec::new();
    for purpose in der::one(value)?.elements() {
        let oid = der::oid(purpose.inside)?;
        let known = PURPOSES.iter().find(|(known, _)| *known == oid);
        names.push(known.map_or(oid.clone(), |(_, name)| name.to_string()));
    }
    names.sort();
    Some(names.into())
}

fn constraints(value: &[u8]) -> Option<Value> {
    let parts: Vec<der::Element<'_>> = der::one(value)?.elements().collect();
    let authority = parts.iter().any(|part| part.tag == 1 && part.inside != [0]);
    let mut said = vec![format!("CA:{}", if authority { "TRUE" } else { "FALSE" })];
    if let Some(length) = parts.iter().find(|part| part.tag == 2) {
        said.push(format!("pathlen:{}", length.inside.iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte))));
    }
    Some(said.into())
}

fn general_name(tag: u8, value: &[u8]) -> Option<String> {
    let text = || String::from_utf8_lossy(value).into_owned();
    Some(match tag {
        0x81 => format!("email:{}", text()),
        0x82 => format!("DNS:{}", text()),
        0x86 => format!("URI:{}", text()),
        0x87 => match <[u8; 4]>::try_from(value) {
            Ok(four) => format!("IP:{}", std::net::Ipv4Addr::from(four)),
            Err(_) => format!("IP:{}", std::net::Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?)),
        },
        0x88 => format!("RID:{}", der::oid(value)?),
        other => format!("otherName:{other:#x}"),
    })
}
