//! Variable precedence, magic variables, facts and vault.
