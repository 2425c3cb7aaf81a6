//! The modules: one file each, in families.
