//! The loop on the host: the hub, its children, the spool.
