//! The Jinja environment: filters, tests, lookups, native values, `omit`, unknowns.
