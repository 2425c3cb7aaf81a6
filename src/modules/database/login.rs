//! The arguments that every module of this family shares: how to log in to the server.

use crate::modules::scalars::Text;
use crate::secret::Secret;
use serde::{Deserialize, Deserializer};

/// A password; numbers are taken as text.
#[derive(Clone, Debug, Default)]
pub struct Password(pub Secret);

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer).map_err(|_| serde::de::Error::custom("a password must be text"))?;
        Ok(Password(Secret::new(text.0)))
    }
}

/// [`crate::arguments!`] with the login's arguments added, and `login()` that reads them.
macro_rules! login_arguments {
    ($(#[$meta:meta])* pub struct $name:ident { $($fields:tt)* }) => {
        $crate::arguments! {
            $(#[$meta])*
            pub struct $name {
                $($fields)*
                /// Whom to log in as. Without it: what `config_file` says, else the user the task runs as; root needs
                /// no password over the socket.
                pub login_user: Option<$crate::modules::scalars::Text>,
                /// The password, for accounts that have one.
                pub login_password: Option<$crate::modules::database::login::Password>,
                /// The server's host. `localhost` means its socket.
                pub login_host: Option<$crate::modules::scalars::Text>,
                /// The server's port, when `login_host` is another host. 3306 when not given.
                pub login_port: Option<$crate::modules::scalars::Int>,
                /// Path of the server's socket. The distribution's when not given.
                pub login_unix_socket: Option<$crate::modules::scalars::Text>,
                /// Option file whose `[client]` part gives what the arguments do not. `~/.my.cnf` when not given.
                pub config_file: Option<$crate::modules::scalars::Text>,
                /// Seconds to wait for the login. 30 when not given.
                pub connect_timeout: Option<$crate::modules::scalars::Int>,
                /// Authority of the server's certificate, over the network. Not supported: run the task on the
                /// server's host.
                #[serde(alias = "ssl_ca")]
                pub ca_cert: Option<$crate::modules::scalars::Text>,
                /// Own certificate, over the network. Not supported.
                #[serde(alias = "ssl_cert")]
                pub client_cert: Option<$crate::modules::scalars::Text>,
                /// Its key. Not supported.
                #[serde(alias = "ssl_key")]
                pub client_key: Option<$crate::modules::scalars::Text>,
                /// Whether the server's name must match its certificate. The socket needs none.
                pub check_hostname: Option<$crate::modules::scalars::Flag>,
            }
        }

        impl $name {
            /// How to log in.
            #[allow(dead_code)] // the gate hands the arguments on as they are
            fn login(&self) -> $crate::machine::sql::Login {
                let text = |value: &Option<$crate::modules::scalars::Text>| value.as_ref().map(|t| t.0.clone());
                let _ = &self.check_hostname;
                $crate::machine::sql::Login {
                    user: text(&self.login_user),
                    password: self.login_password.as_ref().map(|password| password.0.clone()),
                    host: text(&self.login_host),
                    port: self.login_port.and_then(|port| u16::try_from(port.0).ok()),
                    socket: text(&self.login_unix_socket),
                    config_file: text(&self.config_file),
                    timeout: self.connect_timeout.and_then(|seconds| u64::try_from(seconds.0).ok()),
                    patience: None,
                    database: None,
                    wants_tls: self.ca_cert.is_some() || self.client_cert.is_some() || self.client_key.is_some(),
                }
            }
        }
    };
}
