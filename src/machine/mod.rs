//! The domains of a host, live and predicted.
