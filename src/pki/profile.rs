//! What certificates are for: the purpose of an authority, the profile of a leaf.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::PkiError;

/// What an authority is for. Galera checks the chain and nothing else, so whatever the cluster's authority signs can join
/// replication: application certificates need another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Replication and state transfer among the nodes.
    Cluster,
    /// Servers and clients of 3306.
    Client,
}

/// What a leaf is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// A node's own certificate for 4567, 4568 and 4444: both server and client, or replication refuses it.
    Cluster,
    /// A server that is a client at times (3306, Valkey, a load balancer).
    Server,
    /// An application: a client and nothing else.
    Client,
}

impl Purpose {
    /// As users write it.
    pub const fn name(self) -> &'static str {
        match self {
            Purpose::Cluster => "cluster",
            Purpose::Client => "client",
        }
    }
}

impl Profile {
    /// As users write it.
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Cluster => "cluster",
            Profile::Server => "server",
            Profile::Client => "client",
        }
    }

    /// Whether its leaves may serve.
    pub const fn server_auth(self) -> bool {
        !matches!(self, Profile::Client)
    }

    /// Whether its leaves may connect. All may: Galera's nodes and MariaDB's replicas do.
    pub const fn client_auth(self) -> bool {
        true
    }

    /// Refuses what an authority of `purpose` must not sign.
    pub fn allowed_by(self, purpose: Purpose, authority: &str) -> Result<(), PkiError> {
        let why = match (purpose, self) {
            (Purpose::Cluster, Profile::Client) => {
                "any certificate of that authority can join replication; use the client authority for applications"
            }
            (Purpose::Client, Profile::Cluster) => {
                "nodes trust only the cluster's authority for replication; use that one"
            }
            _ => return Ok(()),
        };
        Err(PkiError::Forbidden { name: authority.to_string(), purpose: purpose.name(), profile: self.name(), why })
    }
}

impl FromStr for Purpose {
    type Err = PkiError;

    fn from_str(text: &str) -> Result<Self, PkiError> {
        match text {
            "cluster" => Ok(Purpose::Cluster),
            "client" => Ok(Purpose::Client),
            _ => Err(PkiError::Word { what: "purpose of an authority", text: text.into(), known: "cluster, client" }),
        }
    }
}

impl FromStr for Profile {
    type Err = PkiError;

    fn from_str(text: &str) -> Result<Self, PkiError> {
        match text {
            "cluster" | "node" => Ok(Profile::Cluster),
            "server" => Ok(Profile::Server),
            "client" => Ok(Profile::Client),
            _ => {
                Err(PkiError::Word { what: "certificate profile", text: text.into(), known: "cluster, server, client" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clusters_authority_signs_no_application() {
        let allowed = |purpose: Purpose, profile: Profile| profile.allowed_by(purpose, "ca").is_ok();
        for (purpose, profile, want) in [
            (Purpose::Cluster, Profile::Cluster, true),
            (Purpose::Cluster, Profile::Server, true),
            (Purpose::Cluster, Profile::Client, false),
            (Purpose::Client, Profile::Cluster, false),
            (Purpose::Client, Profile::Server, true),
            (Purpose::Client, Profile::Client, true),
        ] {
            assert_eq!(allowed(purpose, profile), want, "{purpose:?} {profile:?}");
        }
    }
}
