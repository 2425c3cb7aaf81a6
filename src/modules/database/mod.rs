//! The database server: databases, accounts, statements, variables.

#[macro_use]
pub(super) mod login;
mod mysql_db;
mod mysql_info;
mod mysql_query;
mod mysql_replication;
mod mysql_user;
mod mysql_variables;
mod statement;

use super::Module;

/// The modules of this family.
pub const MODULES: &[&Module] = &[
    &mysql_db::MYSQL_DB,
    &mysql_info::MYSQL_INFO,
    &mysql_query::MYSQL_QUERY,
    &mysql_replication::MYSQL_REPLICATION,
    &mysql_user::MYSQL_USER,
    &mysql_variables::MYSQL_VARIABLES,
];
