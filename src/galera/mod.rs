//! What a node's status means: gates, quorum, recovery decisions. Pure.
