//! Whether the members of a cluster trust each other, by what each serves and what each trusts.

use super::{UnixTime, trusts};
use crate::galera::{Observation, Purpose};

/// The first pair of members of which one does not trust what the other serves, as a sentence without a full stop.
/// Members whose certificates were not looked at (`galera_status` without `close`), or that use none, are left out.
pub fn distrust(members: &[Observation], now: UnixTime) -> Option<String> {
    let of = |member: &'_ Observation| {
        let close = member.close.as_ref()?;
        close.certificates.iter().find(|one| one.purpose == Purpose::Cluster).cloned()
    };
    for served in members {
        let Some(chain) = of(served).map(|one| one.chain) else { continue };
        for judge in members {
            let Some(trust) = of(judge).map(|one| one.trust) else { continue };
            if let Err(problem) = trusts(&chain, &trust, now) {
                return Some(match judge.host == served.host {
                    true => format!("{}: its own certificate for its peers: {problem}", served.host),
                    false => {
                        format!("{} would refuse {} as a peer: {problem}", judge.host, served.host)
                    }
                });
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::galera::{Certificate, Closer};

    /// An authority and a leaf of it, PEM.
    fn pair(name: &str, client: bool) -> (String, String) {
        use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose as Usage, IsCa, KeyPair};
        let key = KeyPair::generate().unwrap();
        let mut authority = CertificateParams::default();
        authority.distinguished_name.push(rcgen::DnType::CommonName, name);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = authority.self_signed(&key).unwrap();
        let mut leaf = CertificateParams::new(vec!["n".into()]).unwrap();
        leaf.extended_key_usages = vec![Usage::ServerAuth];
        leaf.extended_key_usages.extend(client.then_some(Usage::ClientAuth));
        let issuer = rcgen::Issuer::new(authority, key);
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        (root.pem(), leaf.pem())
    }

    fn node(host: &str, chain: &str, trust: &str) -> Observation {
        let one = Certificate { chain: chain.into(), trust: trust.into(), ..Certificate::default() };
        let close = Closer { certificates: vec![one], ..Closer::default() };
        Observation { host: host.into(), close: Some(close), ..Observation::default() }
    }

    #[test]
    fn every_member_is_judged_by_every_other() {
        let (root, leaf) = pair("one", true);
        let (other_root, other_leaf) = pair("two", true);
        let (narrow_root, narrow_leaf) = pair("narrow", false);
        let both = format!("{root}{other_root}");
        let now = crate::pki::now();
        assert_eq!(distrust(&[node("a", &leaf, &root), node("b", &leaf, &root)], now), None);
        // In the middle of a change of authorities: both are trusted by all.
        assert_eq!(distrust(&[node("a", &leaf, &both), node("b", &other_leaf, &both)], now), None);
        let fault = distrust(&[node("a", &leaf, &both), node("b", &other_leaf, &other_root)], now).unwrap();
        assert!(fault.starts_with("b would refuse a as a peer"), "{fault}");
        let fault = distrust(&[node("a", &narrow_leaf, &narrow_root)], now).unwrap();
        assert!(fault.starts_with("a: its own") && fault.contains("clientAuth"), "{fault}");
        let plain = Observation { host: "c".into(), ..Observation::default() };
        assert_eq!(distrust(&[node("a", &leaf, &root), plain], now), None);
    }
}
